"""What models behind endpoints are told: one Markdown file a prompt, and the reading of such files."""

from workers.prompts.templates import Prompt, load_prompts, shipped_prompt

__all__ = ["Prompt", "load_prompts", "shipped_prompt"]
