"""``python -m dime.device``: what the host starts on a device. Standard output carries messages and nothing else."""

import argparse
import os
import platform
import signal
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Dict, List, NoReturn, Optional, Sequence, Tuple

from dime import __version__
from dime.contract import frames, messages, plugins, power_protocol
from dime.contract.errors import DeviceError, DimeError, InputError
from dime.contract.networks import parse
from dime.contract.quantities import whole
from dime.contract.run import check_options, parse_frequencies, parse_name, parse_share
from dime.device import stop

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.device.power_log import PowerLog
    from dime.device.samples import Samples
    from dime.device.timings import Network

STOPPED = 128 + signal.SIGTERM


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs one verb.

    Args:
        arguments: As on the command line, without the program's name.

    Returns:
        int: 0; 1 after an error that the person can mend; 143 when stopped.
    """
    emit = _only_messages()
    words = sys.argv[1:] if arguments is None else arguments
    stop.install(partial(_leave, emit, words[:1] == ["profile"]))
    return run(arguments, emit)


def run(arguments: Optional[Sequence[str]], emit: "Emit") -> int:
    """Runs one verb and says with ``emit`` what happens; see `main`."""
    verb = None
    try:
        options = _parser().parse_args(arguments)
        verb = options.verb
        verb(options, emit)
        return 0
    except DimeError as error:
        emit("error", text=str(error))
        return 1
    except EnvironmentError as error:
        if error.filename is None:
            raise
        emit("error", text="{}: {}".format(error.filename, error.strerror))
        return 1
    except KeyboardInterrupt:
        _say_stopped(emit, verb is profile)
        return STOPPED


def _say_stopped(emit: "Emit", keeps: bool) -> None:
    """Says that it was stopped; what any other verb than a profile has made so far goes with it."""
    emit("warning", text="stopped; the same command goes on from here" if keeps else "stopped")


def _leave(emit: "Emit", keeps: bool) -> None:
    """Ends the process as it is: nothing is to be put back where no signal is deferred."""
    try:
        _say_stopped(emit, keeps)
    finally:
        os._exit(STOPPED)


def samples(options: argparse.Namespace, emit: "Emit") -> None:
    """Makes feature maps."""
    spec = parse(options.network, options.input, options.batch, options.dtype, options.rename)
    if spec.kind != "built-in":
        from dime.device.graphs import maps

        folder = maps.make(spec, options.source, options.samples, options.weights, options.cuts, emit)
        emit("done", folder=folder)
        return
    from dime.device import samples as module

    made = module.make(options.network, options.source, options.samples, options.weights, emit)
    emit("done", folder=made.folder)


def network(options: argparse.Namespace, emit: "Emit") -> None:
    """Says where a network can be cut."""
    spec = parse(options.network, options.input, options.batch, options.dtype, options.rename)
    from dime.device import networks

    networks.need_torch()
    from dime.device.graphs import summary

    emit("description", facts=summary.describe(spec, options.cuts))


def profile(options: argparse.Namespace, emit: "Emit") -> None:
    """Measures all bundles."""
    from dime.device import boards, networks

    board = boards.choose(options.device, options.board)
    parse_name(options.network)
    _check_known(options)
    check_options(vars(options), os.cpu_count())
    networks.need_torch()
    from dime.device import timings

    network, found = _load(options, emit)
    log = _power_log(options, emit)
    if log is not None and not options.min_window_s:
        options.min_window_s = log.min_window_s
    hooks = (
        {}
        if log is None
        else {name: getattr(log, name) for name in ("around_frequency", "is_settled", "meter", "rest_s")}
    )
    summary = timings.profile(
        network, found, options.out, vars(options), board, options.device, emit, root=options.root, **hooks
    )
    if log is not None:
        log.close()
    emit("note", text="{} rows; {:.1f} s were spent inside runs".format(summary.rows, summary.inside_s))
    emit("done", folder=options.out)


def stage(options: argparse.Namespace, emit: "Emit") -> None:
    """Runs this device's part of plans, as whoever started it orders."""
    from dime.device import boards, networks, storage

    board = boards.choose(options.device, options.board)
    parse_name(options.network)
    _check_known(options)
    check_options({"threads": options.threads}, os.cpu_count())
    networks.need_torch()
    from dime.contract import handshake
    from dime.contract.run import LEDGER
    from dime.device import processor, timings
    from dime.device.executing import work
    from dime.device.executing.stage import Stage

    with storage.locked(options.out), timings.threads(options.threads), stop.deferred():
        boards.settle(options.out)
        network, found = _load(options, emit)
        chosen = processor.choose(options.processor, emit, processor.advice(board[1]))
        ledger = os.path.join(options.out, LEDGER)
        job = work.Work(network, found, board, chosen, options.root, ledger)
        work.check_same(job, options.profiled_weights, options.profiled_samples)
        run = handshake.Run(
            handshake.read_token(options.token), bytes.fromhex(options.plans), work.network_digest(network, found)
        )
        server = Stage(job, run, emit, options.address)
        emit("description", facts={"port": server.port})
        server.serve()
    emit("done", folder=options.out)


def _check_known(options: argparse.Namespace) -> None:
    """Makes sure that the network is built in, or came with its feature maps."""
    from dime.device import networks
    from dime.device.graphs import maps

    places = (os.path.join(options.samples, options.network), options.samples)
    if not any(maps.is_there(place) for place in places):
        plugins.check(networks, options.network)


def _load(options: argparse.Namespace, emit: "Emit") -> "Tuple[Network, Samples]":
    """The network and its feature maps."""
    from dime.device import networks
    from dime.device import samples as module
    from dime.device.graphs import FOLDER

    found = module.find(options.samples, options.network)
    if found.manifest is not None and "graph" in found.manifest:
        from dime.device.graphs import network as graphs

        return graphs.load(os.path.join(found.folder, FOLDER), found.manifest["weights"], emit), found
    return networks.load(options.network, _weights(options.weights, found), emit), found


def _power_log(options: argparse.Namespace, emit: "Emit") -> "Optional[PowerLog]":
    """Greets the power logger, if there is one."""
    if options.log_server_addr is None:
        if options.energy_error:
            raise InputError("--energy-error needs a power logger: --log-server-addr")
        return None
    from dime.device.power_log import PowerLog

    return PowerLog(
        options.log_server_addr,
        options.log_server_port,
        options.out,
        options.device,
        options.network,
        token=power_protocol.read_token(options.log_server_token) if options.log_server_token else None,
        emit=emit,
        target=options.energy_error,
        least_passes=options.iterations,
        most_passes=options.most_iterations or 10 * options.iterations,
        rest_s=options.rest_s,
    )


def restore(options: argparse.Namespace, emit: "Emit") -> None:
    """Puts back the clocks that a killed run had fixed."""
    from dime.device import boards, storage

    with storage.locked(options.out):
        put_back = boards.settle(options.out)
    emit("note", text="clocks were put back" if put_back else "no run left a clock fixed here")
    emit("done", folder=options.out)


def describe(options: argparse.Namespace, emit: "Emit") -> None:
    """Says what this device is."""
    from dime.device import boards, networks

    name, board = boards.choose(options.device, options.board)
    facts: Dict[str, object] = dict(board.describe(options.root))
    facts.update(device=options.device, board=name, machine=platform.machine())
    facts.update(frequencies_hz=board.frequencies_hz(options.root))
    facts.update(versions={"python": platform.python_version(), "dime": __version__}, processor=None)
    try:
        networks.need_torch()
        from dime.device import processor

        facts["versions"] = processor.versions()
        facts["processor"] = processor.choose("auto", emit).name
    except DeviceError as error:
        emit("warning", text=str(error))
    emit("description", facts=facts)


def smoke(options: argparse.Namespace, emit: "Emit") -> None:
    """Runs a real network once, on the GPU too where there is one, and says what it ran on."""
    from dime.device import boards, networks

    board = boards.choose(options.device, options.board)[1]
    networks.need_torch()
    from dime.device import smoke as module

    emit("description", facts=module.check(board, options.processor, emit))


def probe(options: argparse.Namespace, emit: "Emit") -> None:
    """Says how much disk is free here and what the clock shows."""
    from dime.device import trials

    emit("description", facts=trials.probe())


def board(options: argparse.Namespace, emit: "Emit") -> None:
    """Says what this board is and, if that is to be tried, whether its clocks can be set."""
    from dime.device import boards, trials

    module = boards.choose(options.device, options.board)[1]
    emit("description", facts=trials.board(module, options.root, options.set_clocks))


def busy(options: argparse.Namespace, emit: "Emit") -> None:
    """Keeps all processors busy for a while."""
    from dime.device import trials

    trials.busy(options.seconds, os.cpu_count() or 1)


def hashes(options: argparse.Namespace, emit: "Emit") -> None:
    """Says the SHA-256 of a run's files."""
    from dime.device import trials

    emit("description", facts=trials.hashes(options.out))


def shape(options: argparse.Namespace, emit: "Emit") -> None:
    """Emulates a link between whoever calls here and another port, until standard input ends or it is told to end."""
    from dime.device.executing.shaper import Shaper

    target = (options.target_address, options.target_port)
    rates = (options.up_bit_s, options.down_bit_s)
    with Shaper(target, rates[0], rates[1], options.round_trip_s, not options.half_duplex, options.address) as shaper:
        emit("description", facts={"address": shaper.address, "port": shaper.port})
        with suppress(stop.Stopped):
            sys.stdin.read()
        emit("description", facts={"kept": shaper.kept()})


def answer(options: argparse.Namespace, emit: "Emit") -> None:
    """Answers whoever measures the link to this device, until that ends."""
    from dime.contract import handshake
    from dime.device.executing import probing

    with handshake.Listener(options.address, options.port) as listener:
        emit("description", facts={"address": listener.address, "port": listener.port})
        probing.answer(listener, _token(options), options.sizes)


def probe_link(options: argparse.Namespace, emit: "Emit") -> None:
    """Measures the link to another device, which answers."""
    from dime.device.executing import probing

    os.makedirs(options.out)
    target = (options.target_address, options.target_port)
    counts = (options.iterations, options.runs)
    probing.measure(target, _token(options), options.sizes, counts, options.time_limit_s, options.out, emit)
    emit("done", folder=options.out)


def _token(options: argparse.Namespace) -> bytes:
    from dime.contract import handshake

    return handshake.read_token(options.token)


def _sizes(text: str) -> List[int]:
    """Reads sizes in bytes, joined by commas."""
    found = [whole(word, "B") for word in text.split(",")]
    if not found or min(found) < 1 or max(found) > 1 << 34 or len(found) > 100:
        raise InputError("sizes are up to 100 numbers of bytes from 1 to 16 GiB")
    return found


def _weights(asked: str, found: "Samples") -> str:
    """Takes the weights that the feature maps were made with, unless others are asked for."""
    if asked != "auto" or found.manifest is None:
        return asked
    label = found.manifest["weights"]
    if label == "pretrained":
        return asked  # This machine may lack them; then it says so and takes others, which take as long.
    if label.startswith("file "):
        raise InputError("the feature maps were made with weights from a {}; name it: --weights FILE".format(label))
    return label


def _only_messages() -> "Emit":
    """Keeps standard output for messages: whatever else is printed goes to standard error."""
    sys.stdout.flush()
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def emit(kind: str, **fields: object) -> None:
        try:
            stream.write(messages.encode(kind, **fields) + "\n")
            stream.flush()
        except EnvironmentError as error:  # nobody reads it any more, or what takes it is full
            if not isinstance(error, BrokenPipeError):
                os.write(2, "messages cannot be written: {}\n".format(error.strerror).encode())
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            raise stop.Stopped()

    return emit


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError("{}; {} --help".format(message, self.prog))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m dime.device", description=__doc__)
    verbs = parser.add_subparsers(dest="name")
    verbs.required = True

    verb = verbs.add_parser("samples", help=samples.__doc__)
    verb.set_defaults(verb=samples)
    _network_options(verb)
    _named_options(verb)
    verb.add_argument(
        "--source", default="builtin", help="builtin, imagenette, a folder of pictures or tensors, or random"
    )

    verb = verbs.add_parser("network", help=network.__doc__)
    verb.set_defaults(verb=network)
    _network_options(verb)
    _named_options(verb)

    verb = verbs.add_parser("profile", help=profile.__doc__)
    verb.set_defaults(verb=profile)
    _network_options(verb)
    _device_options(verb)
    verb.add_argument("--out", required=True, help="the run's folder; a run that was cut off there is continued")
    verb.add_argument("--processor", default="auto", help="auto, cuda or cpu")
    verb.add_argument("--frequencies", dest="frequencies_hz", type=parse_frequencies, help="hertz joined by +, or all")
    verb.add_argument("--iterations", type=int, default=16, help="passes over all bundles")
    verb.add_argument("--runs", type=int, default=5, help="timed runs of each bundle in a pass")
    verb.add_argument("--warmups", type=int, default=2, help="runs before them that are not counted")
    verb.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves them to torch")
    verb.add_argument("--max-layers", type=int, help="largest bundle; all by default")
    verb.add_argument("--min-window-s", type=float, default=0.0, help="repeat runs back to back for at least so long")
    verb.add_argument("--encode", help="measure encodings, too: all, or such as input:jpeg90,features:float16")
    verb.add_argument("--seed", type=int, default=0, help="of the order of bundles")
    verb.add_argument("--log-server-addr", help="where a power logger listens: it logs each frequency")
    verb.add_argument("--log-server-token", help="a file that holds the token it wants proved")
    verb.add_argument("--log-server-port", type=int, default=5000, help="its port")
    verb.add_argument("--rest-s", type=float, help="rest before and after a frequency's passes; 10")
    verb.add_argument("--energy-error", type=parse_share, default=0.0, help="repeat until energies are so sure: 3%%")
    verb.add_argument("--most-iterations", type=int, help="give that up after so many passes; 10 x iterations")

    verb = verbs.add_parser("stage", help=stage.__doc__)
    verb.set_defaults(verb=stage)
    _network_options(verb)
    _device_options(verb)
    verb.add_argument("--out", required=True, help="a folder of the run's own, for what is to be put back")
    verb.add_argument("--processor", default="auto", help="auto, cuda or cpu")
    verb.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves them to torch")
    verb.add_argument("--token", required=True, help="a file that holds the run's token, in hexadecimal")
    verb.add_argument("--plans", required=True, help="SHA-256 of the plans that will be run")
    verb.add_argument("--profiled-weights", default="", help="the weights that were profiled; others are refused")
    verb.add_argument("--profiled-samples", default="", help="the hash of the feature maps that were profiled")
    verb.add_argument("--address", default=frames.LOOPBACK, help="the address of this device to listen at")

    _trial_parsers(verbs)
    return parser


def _trial_parsers(verbs: "argparse._SubParsersAction[_Parser]") -> None:
    """The verbs that measure nothing."""
    verb = verbs.add_parser("describe", help=describe.__doc__)
    verb.set_defaults(verb=describe)
    _device_options(verb)

    verb = verbs.add_parser("smoke", help=smoke.__doc__)
    verb.set_defaults(verb=smoke)
    _device_options(verb)
    verb.add_argument("--processor", default="auto", help="auto, cuda or cpu")

    verb = verbs.add_parser("restore", help=restore.__doc__)
    verb.set_defaults(verb=restore)
    verb.add_argument("--out", required=True, help="the run's folder")

    verb = verbs.add_parser("probe", help=probe.__doc__)
    verb.set_defaults(verb=probe)

    verb = verbs.add_parser("board", help=board.__doc__)
    verb.set_defaults(verb=board)
    _device_options(verb)
    verb.add_argument("--set-clocks", action="store_true", help="set the lowest and the highest, and put them back")

    verb = verbs.add_parser("busy", help=busy.__doc__)
    verb.set_defaults(verb=busy)
    verb.add_argument("--seconds", type=float, default=3.0, help="how long")

    verb = verbs.add_parser("answer", help=answer.__doc__)
    verb.set_defaults(verb=answer)
    _link_options(verb)
    verb.add_argument("--address", default=frames.LOOPBACK, help="where to listen")
    verb.add_argument("--port", type=int, default=0, help="the port; 0 takes one that is free")

    verb = verbs.add_parser("link", help=probe_link.__doc__)
    verb.set_defaults(verb=probe_link)
    _link_options(verb)
    verb.add_argument("--target-address", default=frames.LOOPBACK, help="where the other device listens")
    verb.add_argument("--target-port", type=int, required=True, help="its port")
    verb.add_argument("--iterations", type=int, default=10, help="passes over all sizes")
    verb.add_argument("--runs", type=int, default=3, help="exchanges of each size and direction in a pass")
    verb.add_argument("--time-limit-s", type=float, default=120.0, help="no pass is begun that would end later")
    verb.add_argument("--out", required=True, help="a new folder for the table")

    verb = verbs.add_parser("shape", help=shape.__doc__)
    verb.set_defaults(verb=shape)
    verb.add_argument("--target-address", default=frames.LOOPBACK, help="what is behind the link")
    verb.add_argument("--target-port", type=int, required=True, help="its port")
    verb.add_argument("--up-bit-s", type=float, required=True, help="rate from the caller to the target, bit/s")
    verb.add_argument("--down-bit-s", type=float, required=True, help="rate back")
    verb.add_argument("--round-trip-s", type=float, default=0.0, help="half of it delays each direction")
    verb.add_argument("--half-duplex", action="store_true", help="one direction at a time has its rate")
    verb.add_argument("--address", default=frames.LOOPBACK, help="where to listen")

    verb = verbs.add_parser("hashes", help=hashes.__doc__)
    verb.set_defaults(verb=hashes)
    verb.add_argument("--out", required=True, help="the run's folder")


def _network_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--network", required=True, help="alexnet, vgg11, resnet18 or vit_b_16")
    verb.add_argument("--samples", default="samples", help="folder of feature maps")
    verb.add_argument("--weights", default="auto", help="auto, pretrained, 'seeded <n>', or a state_dict's file")


def _named_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--input", help="shapes of the inputs: 1x3x640x640, or 1x128:int64 for tokens, joined by commas")
    verb.add_argument("--batch", type=int, help="the first length of every input")
    verb.add_argument("--dtype", help="precision of parameters and inputs: float32, float16, bfloat16 or float64")
    verb.add_argument("--cuts", default="auto", help="auto, all, a number of layers, or names of places")
    verb.add_argument("--name", dest="rename", help="the network's short name")


def _link_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--sizes", type=_sizes, required=True, help="sizes in bytes, joined by commas")
    verb.add_argument("--token", required=True, help="a file that holds the run's token")


def _device_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--device", type=parse_name, default="local", help="the device's name; nano and potato have boards of their own"
    )
    verb.add_argument("--root", default="/", help="where the board's sysfs is found, as ROOT/sys")
    verb.add_argument("--board", help="a board's name, if the device's does not tell")


if __name__ == "__main__":
    sys.exit(main())
