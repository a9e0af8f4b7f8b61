# The commands of StreamDB's developers; `make` lists them. The work is done by scripts/.

DEMO_PORT ?= 8080
FUZZ_SECONDS ?= 60
# Of the program in the package; without yara it takes a fraction of the time to build.
DEB_FEATURES ?= yara

.PHONY: help demo release deb try-deb test test-yara test-misbehave soak bench compare bodies files fuzz setup

help:
	@echo 'make demo    build, store a small capture, serve it on 127.0.0.1 (DEMO_PORT=$(DEMO_PORT)); as root, capture there, too'
	@echo 'make release the program as it is handed out, with the engine for rules of YARA: target/release/streamdb'
	@echo 'make deb     a package for Debian with that, its unit, man pages and completions: target/debian/*.deb (needs cargo-deb)'
	@echo 'make try-deb the package installed, started, reloaded, drained, removed and purged in a root of its own (root, debootstrap)'
	@echo 'make test    formatting, lints, documentation, licences, all tests: what must pass before a change lands'
	@echo 'make test-yara   the tests of scanning with the rule engine, which takes minutes to build'
	@echo 'make test-misbehave   dissectors that panic, run away and eat memory: each costs the objects of one connection'
	@echo 'make soak    the tests with many times the cases (STREAMDB_SOAK=1)'
	@echo 'make bench   the benches: append, flow table, journal, decoding, extraction, look-up; then look-ups in an index of'
	@echo '             10^6 streams (benches/index.sh takes other sizes); and, with HTTP=capture MIX=capture,'
	@echo '             whole ingests beside other tools (benches/ingest.sh says more), and with HTTP=capture and perhaps TRUTH=file finding'
	@echo '             files (benches/carve.sh); BENCH=name runs one bench alone'
	@echo '             by hand, as they take minutes: benches/live.sh (how soon others can read what comes; needs root), benches/long.sh (20 GB),'
	@echo '             HTTP=capture benches/content_search.sh (searches in contents, beside ripgrep);'
	@echo '             CAPTURE=capture benches/beside.sh (searches while captures are stored)'
	@echo 'make compare CAPTURES=FOLDER   every TCP stream byte for byte beside tcpflow and tshark (both must be installed), differences explained'
	@echo 'make bodies HTTP=CAPTURE TRUTH=FILE   every HTTP body found, and called whole or not, beside what the server sent'
	@echo 'make files CAPTURES=FOLDER   carved files beside those of tshark, tcpflow and Suricata (all must be installed), differences explained'
	@echo 'make fuzz    each fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS), or FUZZ_TARGET=name alone (needs cargo-fuzz and a nightly toolchain)'
	@echo 'make setup   install what the build needs and this machine lacks (demo and test do it too)'

demo:
	@scripts/setup.sh
	@DEMO_PORT=$(DEMO_PORT) scripts/demo.sh

release:
	@scripts/setup.sh
	cargo build --release --locked -p streamdb --features yara

deb:
	@scripts/setup.sh
	@DEB_FEATURES='$(DEB_FEATURES)' scripts/deb.sh

try-deb:
	@scripts/try-package.sh

test:
	@scripts/setup.sh --with-checks
	@scripts/test.sh

test-yara:
	@scripts/setup.sh
	cargo test --locked -p streamdb-scan --features yara
	cargo test --locked -p streamdb --features yara --test scanning

test-misbehave:
	@scripts/setup.sh
	cargo test --locked -p streamdb --features misbehave --test misbehave

soak:
	@scripts/setup.sh
	@STREAMDB_SOAK=1 scripts/test.sh --tests-only

bench:
	@scripts/setup.sh
	cargo bench --locked -p streamdb-benches $(if $(BENCH),--bench $(BENCH),--benches)
	@HTTP='$(HTTP)' MIX='$(MIX)' benches/ingest.sh
	@HTTP='$(HTTP)' TRUTH='$(TRUTH)' benches/carve.sh
	@$(if $(BENCH),,benches/index.sh)

compare:
	@test -n '$(CAPTURES)' || { echo 'compare: say which captures: make compare CAPTURES=FOLDER' >&2; exit 1; }
	@scripts/setup.sh
	cargo build --release --locked -p streamdb
	scripts/compare-peers.py $(CAPTURES)

bodies:
	@test -n '$(HTTP)' -a -n '$(TRUTH)' || { echo 'bodies: say which: make bodies HTTP=CAPTURE TRUTH=FILE (scripts/check-bodies.py says what is in it)' >&2; exit 1; }
	@scripts/setup.sh
	cargo build --release --locked -p streamdb
	scripts/check-bodies.py $(HTTP) $(TRUTH)

files:
	@test -n '$(CAPTURES)' || { echo 'files: say which captures: make files CAPTURES=FOLDER' >&2; exit 1; }
	@scripts/setup.sh
	cargo build --release --locked -p streamdb
	scripts/side-by-side.py $(CAPTURES)

fuzz:
	@scripts/setup.sh
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh $(FUZZ_TARGET)

setup:
	@scripts/setup.sh --with-checks
