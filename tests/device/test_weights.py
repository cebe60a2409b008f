import hashlib
import http.server
import os
import socket
import threading

import pytest
import torch
from torch import nn

from dime.contract.errors import InputError, TableError
from dime.device import downloads, networks, weights


def model():
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Linear(4, 5))


@pytest.fixture
def saved(tmp_path):
    made = model()
    path = str(tmp_path / "weights.pth")
    torch.save(made.state_dict(), path)
    return path, made


def test_seeded_weights_are_the_same_everywhere():
    made = model()
    assert weights.fill(made, "model", "seeded 3") == "seeded 3"
    found = hashlib.sha256(b"".join(value.numpy().tobytes() for _, value in sorted(made.state_dict().items())))
    assert found.hexdigest()[:16] == "86708a3a91c3176f"


def test_seeded_weights_follow_their_seed():
    made = [model() for _ in range(3)]
    for each, seed in zip(made, (1, 1, 2)):  # noqa: B905
        weights.seed(each, seed)
    assert torch.equal(made[0][2].weight, made[1][2].weight)
    assert not torch.equal(made[0][2].weight, made[2][2].weight)


@pytest.mark.parametrize("text, number", [("seeded", 0), ("seeded 7", 7), ("seeded:7", 7), ("seeded=7", 7)])
def test_spellings_of_a_seed(text, number):
    assert weights.fill(model(), "model", text) == "seeded {}".format(number)


def test_a_file_is_named_by_its_hash(saved):
    path, made = saved
    other = model()
    with open(path, "rb") as stream:
        assert weights.fill(other, "model", path) == "file " + hashlib.sha256(stream.read()).hexdigest()[:12]
    assert torch.equal(other[0].weight, made[0].weight)


def test_a_file_that_does_not_fit_is_one_line(saved):
    with pytest.raises(InputError, match="weights.pth does not fit other: .*Missing key") as failure:
        weights.fill(nn.Linear(4, 5), "other", saved[0])
    assert "\n" not in str(failure.value)


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save(torch.ones(2), str(tmp_path / "x.pth"))
    with pytest.raises(InputError, match="not a state_dict"):
        weights.fill(model(), "model", str(tmp_path / "x.pth"))


def test_what_is_neither_a_word_nor_a_file_is_refused():
    with pytest.raises(InputError, match="known: auto, pretrained, seeded <n>, or a file"):
        weights.fill(model(), "model", "trained")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torch's own cache, empty, and a server of weights in place of the real one."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def server(tmp_path, monkeypatch, saved):
    class Handler(http.server.BaseHTTPRequestHandler):
        limit = None

        def do_GET(self):  # noqa: N802
            with open(saved[0], "rb") as stream:
                content = stream.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: Handler.limit])

        def log_message(self, *arguments):
            pass

    with open(saved[0], "rb") as stream:
        name = "model-{}.pth".format(hashlib.sha256(stream.read()).hexdigest()[:8])
    listening = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    address = "http://127.0.0.1:{}/{}".format(listening.server_port, name)
    monkeypatch.setattr(weights, "_address", lambda name: address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield name, Handler
    listening.shutdown()
    listening.server_close()


def test_pretrained_weights_are_fetched_once(cache, server, saved, heard, monkeypatch):
    other = model()
    assert weights.fill(other, "model", "auto", emit=heard) == "pretrained"
    assert torch.equal(other[0].weight, saved[1][0].weight)
    assert os.listdir(str(cache)) == [server[0]]
    assert heard.texts("note") == ["fetching pretrained weights: " + server[0]]
    assert ("stage", {"total": 0, "unit": "MiB", "what": server[0]}) in heard
    monkeypatch.setattr(weights, "_address", None)
    assert weights.fill(model(), "model", "pretrained") == "pretrained"


def test_a_download_that_breaks_off_is_not_kept(cache, server):
    server[1].limit = 1000
    with pytest.raises(InputError, match="cannot be fetched .*arrived damaged"):
        weights.fill(model(), "model", "pretrained")
    server[1].limit = None
    assert weights.fill(model(), "model", "pretrained") == "pretrained"


def test_a_damaged_cache_is_named(cache, server):
    weights.fill(model(), "model", "pretrained")
    (cache / server[0]).write_bytes(b"damaged")
    with pytest.raises(TableError, match="model-.*.pth is damaged.*remove it"):
        weights.fill(model(), "model", "pretrained")


def test_without_a_network_auto_is_seeded_and_says_so(cache, heard, monkeypatch):
    monkeypatch.setattr(weights, "_address", lambda name: "http://nowhere.invalid/model-12345678.pth")
    assert weights.fill(model(), "model", "auto", emit=heard) == "seeded 0"
    assert "random weights (seeded 0) instead of pretrained ones" in heard.texts("warning")[0]
    with pytest.raises(InputError, match="pretrained weights cannot be fetched"):
        weights.fill(model(), "model", "pretrained")


def test_a_server_that_never_answers_does_not_hold_up(cache, monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        address = "http://127.0.0.1:{}/model-12345678.pth".format(silent.getsockname()[1])
        monkeypatch.setattr(weights, "_address", lambda name: address)
        monkeypatch.setattr(downloads, "PATIENCE_S", 0.2)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(InputError, match="cannot be fetched .*timed out"):
            weights.fill(model(), "model", "pretrained")
    assert os.listdir(str(cache)) == []


def test_torchvision_says_where_its_weights_are():
    pytest.importorskip("torchvision")
    assert weights._address("resnet18").endswith(".pth")
    with pytest.raises(InputError, match="no pretrained weights for lenet"):
        weights._address("lenet")


def test_perceptrons_of_old_transformer_weights_are_renamed():
    adapt = networks.describe("vit_b_16").adapt
    assert dict(adapt({"0.mlp.linear_1.weight": 1, "0.mlp.linear_2.bias": 2, "0.ln_1.bias": 3})) == {
        "0.mlp.0.weight": 1,
        "0.mlp.3.bias": 2,
        "0.ln_1.bias": 3,
    }
