"""The tasks of the project, each in an environment of its own: `nox --list` shows them."""

import nox

nox.needs_version = ">=2025.2.9"  # dependency groups
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["demo", "tests", "lint", "types", "docs"]

BACKENDS = ("tensorflow", "jax", "torch")
PROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str, extras: str = "") -> None:
    """Install the project in place, with dependency groups and extras."""
    wanted = nox.project.dependency_groups(PROJECT, *groups) if groups else ()
    session.install("-e", f".[{extras}]" if extras else ".", *wanted)


def use(session: nox.Session, backend: str) -> None:
    """Choose Keras's backend, and quiet TensorFlow's start-up notes."""
    session.env.update(KERAS_BACKEND=backend, TF_CPP_MIN_LOG_LEVEL="2", MPLBACKEND="agg")
    # What one test or process has compiled, the others load: most of JAX's time is compiling.
    session.env.update(
        JAX_COMPILATION_CACHE_DIR=str((session.cache_dir / "jax").resolve()),
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
    )


@nox.session
def demo(session: nox.Session) -> None:
    """Train the MNIST autoencoder on the digits in the repository, on TensorFlow."""
    install(session, "tensorflow", extras="plot")
    use(session, "tensorflow")
    session.run("python", "examples/mnist_autoencoder.py", *session.posargs)


@nox.session
@nox.parametrize("backend", BACKENDS, ids=BACKENDS)
def tests(session: nox.Session, backend: str) -> None:
    """Run the whole suite, in an environment that holds one backend only."""
    install(session, backend, "test")
    use(session, backend)
    # Two processes share JAX's cache: an entry that the other one is writing is compiled again.
    cache_warnings = [
        part
        for verb in ("reading", "writing")
        for part in ("-W", f"ignore:Error {verb} persistent compilation cache entry:UserWarning")
    ]
    session.run("pytest", "-n", "2", "--dist", "worksteal", *cache_warnings, *session.posargs)


@nox.session
@nox.parametrize("backend", BACKENDS, ids=BACKENDS)
def saved_models(session: nox.Session, backend: str) -> None:
    """Save the models of contracts that have none yet, for the tests of loading."""
    install(session, backend, "test")
    use(session, backend)
    session.run("python", "-m", "tests.saved_models", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the annotations."""
    install(session, "types")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site, executing its notebooks; any warning is an error."""
    install(session, "tensorflow", extras="docs")
    use(session, "tensorflow")
    session.run("mkdocs", "build", "--strict", *session.posargs)
