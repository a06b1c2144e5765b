"""What runs inside a job: pull the data (verified), reproduce the stages, hand results back.

This package stands alone: an executor ships it beside the source bundle, as one zip file that
Python runs, so a container needs DVC but not clew. Folders and variables are those of a SageMaker
training container:
https://docs.aws.amazon.com/sagemaker/latest/dg/amazon-sagemaker-toolkits.html
"""
