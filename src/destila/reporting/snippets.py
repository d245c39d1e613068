"""Programs for a model card: how to ask a reader with Destila, transformers (in JavaScript, too) or onnxruntime.

They name the model by PLACEHOLDER, which `destila push` replaces by the repository's name. The tests run them as they
are. Those for other libraries take the most probable span of one window; windows, whole words and "no answer" are what
Destila adds, and each says so.
"""

PLACEHOLDER = "OWNER/MODEL"
QUESTION = "¿Quién dirige la biblioteca?"
CONTEXT = "La biblioteca abrió el 14 de mayo de 1987. La dirige Carmen Ledesma desde entonces."
_ASKED = f'question = "{QUESTION}"\ncontext = "{CONTEXT}"'
_NOTE = '# The best span of a text that fits one window; Destila adds longer texts, whole words and "no answer".'

DESTILA = f'''\
from destila import Reader

{_ASKED}
reader = Reader.load("{PLACEHOLDER}")  # pin a commit with {PLACEHOLDER}@COMMIT
answer = reader.answer(question, context)
print(answer.text, answer.start, answer.end, answer.score)  # text is None: the context holds no answer
'''

_TRANSFORMERS = f'''\
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

{_ASKED}
tokenizer = AutoTokenizer.from_pretrained("{PLACEHOLDER}")
model = AutoModelForQuestionAnswering.from_pretrained("{PLACEHOLDER}").eval()
inputs = tokenizer(question, context, return_offsets_mapping=True, return_tensors="pt")
offsets = inputs.pop("offset_mapping")[0].tolist()
with torch.inference_mode():
    output = model({{arguments}})
{_NOTE}
in_context = torch.tensor([part == 1 for part in inputs.sequence_ids(0)])
scores = output.start_logits[0][:, None] + output.end_logits[0][None, :]
legal = (in_context[:, None] & in_context[None, :]).triu().tril({{longest}} - 1)
start, end = divmod(int(scores.masked_fill(~legal, -torch.inf).argmax()), len(offsets))
print(context[offsets[start][0] : offsets[end][1]])
'''

_ONNX = f"""\
import numpy as np
import onnxruntime
{{imported}}from tokenizers import Tokenizer

{_ASKED}
directory = {{directory}}
tokenizer = Tokenizer.from_file(f"{{{{directory}}}}/tokenizer.json")
session = onnxruntime.InferenceSession(f"{{{{directory}}}}/model.onnx", providers=["CPUExecutionProvider"])
encoded = tokenizer.encode(question, context)
inputs = {{{{"input_ids": np.array([encoded.ids]), "attention_mask": np.array([encoded.attention_mask])}}}}
start_logits, end_logits = session.run(["start_logits", "end_logits"], inputs)
{_NOTE}
in_context = np.array([part == 1 for part in encoded.sequence_ids])
scores = start_logits[0][:, None] + end_logits[0][None, :]
legal = np.tril(np.triu(in_context[:, None] & in_context[None, :]), {{longest}} - 1)
start, end = divmod(int(np.where(legal, scores, -np.inf).argmax()), len(encoded.ids))
print(context[encoded.offsets[start][0] : encoded.offsets[end][1]])
"""

TRANSFORMERS_JS = f'''\
import {{ pipeline }} from "@huggingface/transformers";

const question = "{QUESTION}";
const context = "{CONTEXT}";
// "fp32" and "" name the file model.onnx, whatever its precision.
const reader = await pipeline("question-answering", "{PLACEHOLDER}", {{ dtype: "fp32", subfolder: "" }});
console.log(await reader(question, context)); // of a text that fits one window, always an answer
'''

EXPORT = f"destila export --model {PLACEHOLDER} --output onnx --format onnx\n"


def with_transformers(*, segmented: bool, longest_answer: int) -> str:
    """A program for transformers.

    Args:
        segmented: whether the model is told which tokens are the question's (BERT).
        longest_answer: in tokens.
    """
    arguments = "**inputs" if segmented else 'input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]'
    return _TRANSFORMERS.format(arguments=arguments, longest=longest_answer)


def with_onnxruntime(*, from_hub: bool, longest_answer: int) -> str:
    """A program for onnxruntime.

    Args:
        from_hub: take the model from the hub; else from the directory that EXPORT writes.
        longest_answer: in tokens.
    """
    imported = "from huggingface_hub import snapshot_download\n" if from_hub else ""
    directory = f'snapshot_download("{PLACEHOLDER}")' if from_hub else '"onnx"'
    return _ONNX.format(imported=imported, directory=directory, longest=longest_answer)
