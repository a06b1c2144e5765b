"""What AWS's PyTorch image adds to the toolkit: `torchrun`, and errors with their message.

After https://github.com/aws/sagemaker-pytorch-training-toolkit (`training.py`): its `main` reads
`sagemaker_torch_distributed_enabled` and runs the entry point with `capture_error=True`.
"""

from __future__ import annotations

from sagemaker_training import entry_point, environment, runner

SWITCH = "sagemaker_torch_distributed_enabled"


def main() -> None:
    settings = environment.Environment()
    distributed = settings.additional_framework_parameters.get(SWITCH, False)
    entry_point.run(
        uri=settings.module_dir,
        user_entry_point=settings.user_entry_point,
        args=settings.to_cmd_args(),
        env_vars=settings.to_env_vars(),
        capture_error=True,
        runner_type=(
            runner.TorchDistributedRunnerType if distributed else runner.ProcessRunnerType
        ),
    )
