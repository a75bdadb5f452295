# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``flux wreckrun``: run a program interactively on resources that the
scheduler gives.

All options of ``flux run``, and these by the names that the first wreckrun had
for them: ``--nnodes``, ``-T, --walltime`` (seconds), ``--labelio``, and ``-d,
--detach`` to print the job id and not to wait.
"""

import logging

import flux.cli.run
import flux.util

LOGGER = logging.getLogger("flux-wreckrun")


def seconds(text):
    """A time in seconds, as the flux standard duration of that length."""
    if float(text) < 0:
        raise ValueError("negative")
    return f"{text}s"


class WreckrunCmd(flux.cli.run.RunCmd):
    def __init__(self):
        super().__init__(
            "flux wreckrun",
            description="run a program interactively on resources given by the scheduler",
        )
        group = self.parser.add_argument_group("Options of the first wreckrun")
        group.add_argument("--nnodes", dest="nodes", metavar="N", type=int, help="same as --nodes")
        group.add_argument(
            "-T", "--walltime", dest="time_limit", metavar="SECONDS", type=seconds, help="time limit in seconds"
        )
        group.add_argument("--labelio", dest="label_io", action="store_true", help="same as --label-io")
        group.add_argument("-d", "--detach", action="store_true", help="print the job id and do not wait")

    def main(self, args):
        if args.detach:
            print(self.submit(args))
        else:
            super().main(args)


@flux.util.CLIMain(LOGGER)
def main():
    WreckrunCmd().run_command()


if __name__ == "__main__":
    main()
