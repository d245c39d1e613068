# The two commands of a newcomer: `make demo` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEV := $(VENV)/.dev-installed
BASE := $(VENV)/.base-installed

.PHONY: help demo serve test lint install install-train audit docs fuzz screenshot report bench certify clean

help:
	@echo "make demo     an answer, then distill a small reader on two cores, then the paper's table (minutes)"
	@echo "make test     lint, type check and run every test"
	@echo "make serve    open a page where you ask questions about your own text (MODEL=DIRECTORY for another reader)"
	@echo "make report   a page about the bundled model: scores, errors, speed, cost (TEACHER=DIRECTORY to compare with)"
	@echo "make certify  check what is guaranteed of the bundled model, in each back end (docs/guarantees.md)"
	@echo "make install  the base package alone: answers questions, no torch"
	@echo "make docs     the documentation as a static site, with a reference made of the docstrings"
	@echo "make audit    compare what is installed with the known vulnerabilities"
	@echo "make clean    remove the virtual environment and the demo's runs"

$(BIN)/python:
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), f"Python 3.11 to 3.13 is needed, this is {sys.version}"'
	$(PYTHON) -m venv $(VENV)

# Bytecode is made when a module is first imported: of all that is installed here, most never is.
$(DEV): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check -c constraints.txt -e ".[train,pretrain,data,serve,documents,generate,report,export,openvino,frames,haystack,langchain,llama-index,txtai,spacy,mcp,ray,browser,dev]"
	@touch $(DEV) $(BASE)

$(BASE): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $(BASE)

install: $(BASE)
	@echo "installed: $(BIN)/destila answer --help"

install-train: $(DEV)

# QUESTION and TEXT travel through the environment: quotes in them survive.
export QUESTION TEXT
demo: $(DEV)
	$(BIN)/python scripts/demo.py

# The bundled model; while there is none, the demo's student.
MODEL ?= $(if $(wildcard src/destila/inference/shipped/model.onnx),,$(wildcard runs/demo/student))

serve: $(DEV)
	$(BIN)/destila serve --open $(if $(MODEL),--model $(MODEL))

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread a worker: two workers fill two cores, and small matrices gain nothing from more threads.
# What the tests of the pages saw stays in build/screenshots; -rs says what was skipped and why. Node and npm are those
# of the environment, which trust the certificates that the system trusts.
test: lint
	PATH="$(CURDIR)/$(BIN):$$PATH" NODE_USE_SYSTEM_CA=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false DESTILA_SCREENSHOTS=$(CURDIR)/build/screenshots $(BIN)/python -m pytest -n 2 --dist loadfile -rs
	@echo "screenshots of the pages: $(CURDIR)/build/screenshots"

# Ten thousand requests made from the OpenAPI document; make test sends two hundred.
fuzz: $(DEV)
	DESTILA_FUZZ_REQUESTS=10000 $(BIN)/python -m pytest -s tests/serving/test_fuzz.py

# The picture of the README: the page with the bundled model (or MODEL=DIRECTORY), a question and its answer.
screenshot: $(DEV)
	$(BIN)/python scripts/screenshot.py docs/page.png $(if $(MODEL),--model $(MODEL))

# The report of the bundled model, against its teacher (TEACHER=DIRECTORY) if that is here. Lengths of questions
# that fit the windows of both.
TEACHER ?= $(wildcard models/teacher)

report: $(DEV)
	@mkdir -p build
	$(BIN)/destila bench --json --cold false --lengths 192 --lengths 96 $(if $(TEACHER),--model $(TEACHER) --model src/destila/inference/shipped) > build/bench.json
	$(BIN)/destila report $(if $(TEACHER),--reference $(TEACHER)) --data data/nativa/test.json --bench build/bench.json --output build/report --overwrite
	@test $$(wc -c < build/report/report.html) -lt 5000000 || { echo "build/report/report.html is larger than 5 MB"; exit 1; }
	@echo "the report: file://$(CURDIR)/build/report/report.html ($$(wc -c < build/report/report.html) bytes); as Markdown: build/report/report.md"

# Needs a network; without one it says so and fails nothing. Not part of make test, whose result must depend on the code alone.
audit: $(DEV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[audit]"
	$(BIN)/python .ci/audit

# In an environment of its own, without torch. Not part of make test, which checks the pages and their links.
docs: build/docs-env/.installed
	build/docs-env/bin/mkdocs build
	@echo "the documentation: file://$(CURDIR)/build/docs/index.html"

build/docs-env/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv build/docs-env
	build/docs-env/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

bench: $(DEV)
	$(BIN)/python benchmarks/training_step.py

# The bundled model in int8, the reader it was made of in torch, and an export of that to OpenVINO; on all questions
# written in Spanish that nothing was trained on.
CERTIFY := --data data/nativa/dev.json --data data/nativa/test.json
certify: $(DEV)
	$(BIN)/destila certify src/destila/inference/shipped $(CERTIFY) --reference models/reader
	$(BIN)/destila certify models/reader $(CERTIFY)
	$(BIN)/destila export --model models/reader --output build/certify --format openvino --overwrite
	$(BIN)/destila certify build/certify $(CERTIFY) --reference models/reader

clean:
	rm -rf $(VENV) runs/demo
