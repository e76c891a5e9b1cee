"""`bioscan data`: the dataset on a user's disk and on the Hub."""

from bioscan_hf.cli.data.convert import convert
from bioscan_hf.cli.data.info import info
from bioscan_hf.cli.data.push import push
from bioscan_hf.cli.data.stats import stats
from bioscan_hf.cli.data.verify import verify
from bioscan_hf.cli.help import ModelFreeCommand, Program

data = Program(
    help="""Show, check, convert and publish BIOSCAN-5M.

    Examples:
        # what there is, and how much of it
        bioscan data info
        # what a folder holds
        bioscan data info bioscan5m
    """
)


for command in (info, stats, verify, convert, push):
    data.command(cls=ModelFreeCommand)(command)
