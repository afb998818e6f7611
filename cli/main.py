"""Puts the commands together, and turns a user's mistake into one line and exit code 2."""

import signal
import sys


def main() -> None:
    """Run `picket` with the arguments of this process."""
    # Until all is loaded there is nothing to tidy up: Ctrl-C is the end, without a traceback.
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        from cli import commands  # noqa: F401, PLC0415

        signal.signal(signal.SIGINT, handler)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; return the exit code: 0 fine, 1 found something or failed, 2 misuse."""
    # Loaded here, for `main` and so that a mistake in an imported module's settings is told like
    # any other.
    import typer  # noqa: PLC0415

    from cli import commands, faults  # noqa: PLC0415

    usage_error = typer.BadParameter.__mro__[1]
    try:
        code = commands.app(args=arguments, prog_name="picket", standalone_mode=False)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be written on the way out.
        sys.stdout = None
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return faults.INTERRUPTED
    except Exception as error:
        told = (
            (_usage(error), faults.MISUSE) if isinstance(error, usage_error) else faults.told(error)
        )
        if told is None:
            raise
        return faults.say(*told)
    return code if isinstance(code, int) else 0


def _usage(error: Exception) -> str:
    said = str(getattr(error, "format_message", lambda: str(error))())
    message = said.replace("Value error, ", "").rstrip(".")
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "picket")
    return f"{message} (see {path} --help)"
