"""`bioscan library`: reference specimens, made into what queries are compared with."""

from bioscan_hf.cli.help import ModelFreeCommand, Program
from bioscan_hf.cli.library.add import add
from bioscan_hf.cli.library.build import build
from bioscan_hf.cli.library.info import info
from bioscan_hf.cli.library.push import push

library = Program(
    help="""Make, enlarge, show and publish a library of reference specimens.

    Examples:
        bioscan library build my_reference.csv --output my-library
        bioscan library info my-library
    """
)


for command in (build, add, push):
    library.command()(command)
library.command(cls=ModelFreeCommand)(info)
