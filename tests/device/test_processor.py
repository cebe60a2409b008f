"""The processor. No GPU is needed: torch's CUDA interface is played by stand-ins where one is talked to."""

import random
import time

import pytest
import torch

from dime.contract import plugins
from dime.contract.errors import DeviceError, InputError
from dime.device import boards, processor, smoke


class Slow(torch.nn.Module):
    def forward(self, x):
        time.sleep(0.002)
        return x + 1


def test_a_single_run_is_timed_by_the_monotonic_clock():
    repeats, duration_s, start_ns, end_ns, output, single_s = processor.Cpu().burst(Slow(), torch.zeros(1))
    assert single_s == duration_s
    assert repeats == 1
    assert duration_s == (end_ns - start_ns) * 1e-9 >= 0.002
    assert output.item() == 1


def test_a_burst_is_no_longer_than_its_window_needs():
    repeats, duration_s, start_ns, end_ns, _, _ = processor.Cpu().burst(Slow(), torch.zeros(1), window_s=0.05)
    assert 0.05 <= (end_ns - start_ns) * 1e-9 == pytest.approx(repeats * duration_s)
    assert 2 <= repeats <= 25


def test_without_a_gpu_the_cpu_is_taken_without_a_word(heard, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert processor.choose("auto", heard).name == "cpu"
    assert heard == []
    with pytest.raises(DeviceError, match="sees no GPU here; use --processor cpu"):
        processor.choose("cuda", heard)


@pytest.fixture
def useless_gpu(monkeypatch):
    """A GPU that torch sees and for which it has no kernels, as the 1.11 wheel on a Jetson Nano."""
    real = torch.ones

    def ones(*sizes, **options):
        if options.get("device") == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore words")
        return real(*sizes, **options)

    monkeypatch.setattr(torch, "ones", ones)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (5, 3))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_62", "sm_72"])


def test_a_gpu_without_kernels_is_said_and_the_cpu_taken(heard, useless_gpu):
    assert processor.choose("auto", heard).name == "cpu"
    (warning,) = heard.texts("warning")
    assert "the GPU is sm_53" in warning and "holds kernels for sm_62 sm_72: CUDA error: no kernel image" in warning
    assert warning.endswith("using the CPU") and "\n" not in warning


def test_a_gpu_without_kernels_is_an_error_if_asked_for(heard, useless_gpu):
    with pytest.raises(DeviceError, match="the GPU is sm_53"):
        processor.choose("cuda", heard)


def test_an_unknown_processor_is_refused(heard):
    with pytest.raises(InputError, match="unknown processor 'tpu'; known: auto, cpu, cuda"):
        processor.choose("tpu", heard)


class FakeGpu(object):
    """Counts what a burst does; its events say 3 ms for each run."""

    def __init__(self):
        self.log = []
        self.runs = 0

    def event(self, enable_timing):
        gpu = self

        class Event(object):
            def record(self):
                gpu.log.append("record")
                self.runs = gpu.runs

            def elapsed_time(self, other):
                assert gpu.log[-1] == "synchronize"
                return 3.0 * (other.runs - self.runs)

        assert enable_timing
        return Event()

    def synchronize(self):
        self.log.append("synchronize")

    def module(self, x):
        time.sleep(0.001)
        self.runs += 1
        self.log.append("run")
        return x


@pytest.fixture
def gpu(monkeypatch):
    fake = FakeGpu()
    monkeypatch.setattr(torch.cuda, "Event", fake.event)
    monkeypatch.setattr(torch.cuda, "synchronize", fake.synchronize)
    return fake


def test_a_gpus_run_is_timed_by_events_between_synchronisations(gpu):
    repeats, duration_s, start_ns, end_ns, _, single_s = processor.Cuda().burst(gpu.module, torch.zeros(1))
    assert single_s == duration_s
    assert gpu.log == ["synchronize", "record", "run", "record", "synchronize"]
    assert repeats == 1 and duration_s == pytest.approx(0.003)
    assert end_ns - start_ns >= 1000 * 1000


def test_a_gpus_burst_is_divided_by_its_runs(gpu):
    repeats, duration_s, start_ns, end_ns, _, single_s = processor.Cuda().burst(
        gpu.module, torch.zeros(1), window_s=0.02
    )
    assert single_s == pytest.approx(0.003)
    assert repeats == gpu.runs > 1
    assert duration_s == pytest.approx(0.003)
    assert (end_ns - start_ns) * 1e-9 >= 0.02


class Counted(object):
    """A clock that counts runs, and work that takes one tick."""

    def __init__(self):
        self.runs = 0

    def now(self):
        return self.runs

    def __call__(self, x):
        self.runs += 1
        return x


def test_the_run_that_is_timed_alone_is_drawn_evenly_from_all(monkeypatch):
    monkeypatch.setattr(processor._Drawn, "_chance", random.Random(3))
    seen = []
    for _ in range(4000):
        work = Counted()
        drawn = processor._Drawn(work.now, lambda start, end: seen.append(start) or 1.0, True)
        drawn.run(work, None, 1)
        drawn.run(work, None, 6)
        drawn.run(work, None, 3)
        assert drawn.runs == work.runs == 10
        drawn.single_s(0.0)
    counts = [seen.count(number) for number in range(10)]
    assert sum(counts) == 4000 and min(counts) > 330 and max(counts) < 470  # 400 each, 19 at one sigma


def test_single_runs_keep_the_spread_that_a_bursts_mean_evens_out(monkeypatch):
    turn, now_ns = [0], [0]

    def uneven(x):
        turn[0] += 1
        now_ns[0] += 3000000 if turn[0] % 2 else 1000000
        return x

    monkeypatch.setattr(processor, "monotonic_ns", lambda: now_ns[0])
    bursts = [processor.Cpu().burst(uneven, torch.zeros(1), window_s=0.04) for _ in range(20)]
    assert {round(burst.single_s, 9) for burst in bursts} == {0.001, 0.003}
    assert all(abs(burst.duration_s - 0.002) < 0.0001 for burst in bursts)


def test_a_cpu_copies_nothing():
    assert processor.Cpu().copies_s(torch.zeros(1), torch.zeros(1)) == (0.0, 0.0)


class OnGpu(object):
    """A tensor whose copies take the fake GPU's time: its runs so far."""

    def __init__(self, gpu, copies):
        self.gpu, self.copies = gpu, copies

    def cpu(self):
        self.gpu.runs += self.copies
        return self

    def to(self, where):
        assert where == "cuda"
        return self.cpu()


def test_a_gpus_copies_are_timed_by_events_each_way(gpu):
    assert processor.Cuda().copies_s(OnGpu(gpu, 2), OnGpu(gpu, 5)) == (pytest.approx(0.006), pytest.approx(0.015))
    assert gpu.log == ["synchronize", "record", "record", "record", "synchronize"]
    several = (OnGpu(gpu, 1), OnGpu(gpu, 3))
    assert processor.Cuda().copies_s(several, several) == (pytest.approx(0.012), pytest.approx(0.012))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_a_real_gpus_burst_and_copies():
    chosen = processor.Cuda()
    module, tensor = chosen.place(torch.nn.Linear(512, 512)), chosen.place(torch.rand(4096, 512))
    burst = chosen.burst(module, tensor, 0.05)
    assert burst.repeats > 1 and 0 < burst.single_s < 0.05
    chosen.copies_s(tensor, burst.output)
    assert all(1e-5 < seconds < 0.1 for seconds in chosen.copies_s(tensor, burst.output))


def test_versions_are_those_of_the_installed_packages():
    found = processor.versions()
    assert found["torch"] == str(torch.__version__)
    torchvision = pytest.importorskip("torchvision")
    assert found["torchvision"] == torchvision.__version__


def test_a_gpu_without_kernels_is_an_error_with_a_remedy_on_a_board_measured_for_it(heard, useless_gpu):
    remedy = processor.advice(plugins.load(boards, "nano"))
    with pytest.raises(DeviceError, match=r"the GPU is sm_53.*; type: make build DEVICE=nano TORCH=1\.10"):
        processor.choose("auto", heard, remedy)
    assert processor.choose("cpu", heard, remedy).name == "cpu"
    assert processor.advice(plugins.load(boards, "potato")) is None


def test_the_smoke_test_runs_a_network_and_says_on_what(heard):
    facts = smoke.check(plugins.load(boards, "generic"), "cpu", heard)
    assert facts["processor"] == "cpu" and facts["torch"] == str(torch.__version__)


def test_the_smoke_test_finds_nonsense(heard, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape: torch.full(shape, float("nan")))
    with pytest.raises(DeviceError, match="nonsense on this processor"):
        smoke.check(plugins.load(boards, "generic"), "cpu", heard)


def test_the_smoke_test_finds_a_gpu_that_computes_otherwise(heard, monkeypatch):
    class Wrong(processor.Cpu):
        name = "cuda"

        def place(self, thing):
            return thing * 1.01 if torch.is_tensor(thing) else thing

    monkeypatch.setattr(processor, "choose", lambda *_: Wrong())
    with pytest.raises(DeviceError, match="GPU and CPU differ by .* of the largest output of alexnet"):
        smoke.check(plugins.load(boards, "nano"), "auto", heard)


def test_the_smoke_test_on_a_nano_without_kernels_says_what_to_type(heard, useless_gpu):
    with pytest.raises(DeviceError, match=r"make build DEVICE=nano TORCH=1\.10"):
        smoke.check(plugins.load(boards, "nano"), "auto", heard)
