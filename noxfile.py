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


def compile_quickly(session: nox.Session) -> None:
    """Have XLA write machine code in half the time, if it knows how; most of JAX's time is that.

    It stops at flags that it does not know, so they are tried out first.
    """
    flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    output = session.run(
        *("python", "-c", "import jax; print(jax.devices())"),
        env={"XLA_FLAGS": flags},
        silent=True,
        success_codes=[0, 1, 134, -6],
    )
    if "CpuDevice" in str(output):
        session.env["XLA_FLAGS"] = flags


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
    if backend == "jax":
        compile_quickly(session)
    session.run("pytest", "-n", "2", "--dist", "worksteal", *session.posargs)


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
