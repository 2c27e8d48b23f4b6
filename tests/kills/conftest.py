"""The kills, for pytest: what they share with the other tests lies beside them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "follow"))
