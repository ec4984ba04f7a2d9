"""What this machine was measured to reach, and what that predicts of a step."""
