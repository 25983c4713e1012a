"""The embedded base model's tokenizer: byte-level BPE over the worlds' text, single digits, chat marks.

Words inside a sentence carry the space before them, so ``" tutor"`` is one token and ``"tutor"`` is not. The
chat template therefore puts a space before every turn's text: an answer right after ``<|assistant|>`` is made
of the same tokens as in a sentence.
"""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from workers.worlds.corpus import tokenizer_texts

VOCABULARY = 1536
MAX_LENGTH_TOKENS = 512
PAD, BOS, END_OF_TEXT = "<|pad|>", "<s>", "<|endoftext|>"
USER, ASSISTANT, END, SYSTEM = "<|user|>", "<|assistant|>", "<|end|>", "<|system|>"
MARKS = (PAD, BOS, END_OF_TEXT, USER, ASSISTANT, END, SYSTEM)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|> ' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

_LINES = 60_000


def train_tokenizer(
    *, seed: int = 0, lines: int = _LINES, prefix_space: bool = False
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on text of all eight domains.

    Args:
        seed: Key of the text.
        lines: How much text.
        prefix_space: Whether a text without a space before it is given one, as T5's tokenizer does: a decoder
            is shown answers alone, with no template to put it there.

    Returns:
        The tokenizer, with chat template, maximal length and special tokens set.
    """
    core = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    # The space is for the text, not for each of its digits: there they are taken apart last.
    parts = (
        [pre_tokenizers.ByteLevel(add_prefix_space=True), digits]
        if prefix_space
        else [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.pre_tokenizer = pre_tokenizers.Sequence(parts)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        tokenizer_texts(lines, seed=seed),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=list(MARKS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=END_OF_TEXT,
        additional_special_tokens=[USER, ASSISTANT, END, SYSTEM],
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_LENGTH_TOKENS,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
