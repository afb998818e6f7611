"""`python -m cli` is `picket`; the children of `picket up` are started so."""

from cli.main import main

if __name__ == "__main__":
    main()
