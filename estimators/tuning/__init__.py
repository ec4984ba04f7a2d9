"""Fine-tuning on a few devices: the job, the recipes of frameworks, what fits, and how long a data set takes."""
