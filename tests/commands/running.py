"""Running the command line in this process."""

from keras_upsampling import __main__ as command_line


def run(capsys, *arguments):
    """Return the exit code, the standard output and the standard error."""
    try:
        code = command_line.main([str(argument) for argument in arguments])
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()
