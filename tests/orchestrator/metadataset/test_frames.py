from hypothesis import given
from hypothesis import strategies as st

from orchestrator.metadataset.frames import HEAD_BYTES, MARK, encode_frame, scan_frames

payloads = st.lists(st.binary(max_size=40), max_size=6)
json_like = st.lists(
    st.text(st.characters(max_codepoint=127), min_size=1).map(str.encode), min_size=1, max_size=6
)


def frames(contents: list[bytes]) -> bytes:
    return b"".join(encode_frame(content) for content in contents)


@given(payloads)
def test_frames_read_back_in_order(contents: list[bytes]) -> None:
    scan = scan_frames(frames(contents))
    assert scan.payloads == contents
    assert scan.whole_bytes == len(frames(contents))
    assert scan.damaged_at is None


@given(json_like, st.data())
def test_frames_cut_anywhere_lose_only_the_cut_one(contents: list[bytes], data: st.DataObject) -> None:
    whole = frames(contents)
    cut = data.draw(st.integers(0, len(whole)))
    scan = scan_frames(whole[:cut])
    assert scan.payloads == contents[: len(scan.payloads)]
    assert scan.whole_bytes == len(frames(scan.payloads)) <= cut
    assert scan.damaged_at is None
    assert len(scan.payloads) == len(contents) or len(frames(contents[: len(scan.payloads) + 1])) > cut


@given(json_like, st.data())
def test_byte_flipped_before_the_last_frame_is_damage_not_a_torn_tail(
    contents: list[bytes], data: st.DataObject
) -> None:
    last = len(frames(contents))
    whole = bytearray(frames([*contents, b"last"]))
    at = data.draw(st.integers(0, last - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    scan = scan_frames(bytes(whole))
    assert scan.damaged_at == scan.whole_bytes <= at


@given(json_like, st.data())
def test_byte_flipped_in_the_last_frame_ends_the_frames_before_it(
    contents: list[bytes], data: st.DataObject
) -> None:
    whole = bytearray(frames(contents))
    at = data.draw(st.integers(len(frames(contents[:-1])), len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    scan = scan_frames(bytes(whole))
    assert (scan.payloads, scan.damaged_at) == (contents[:-1], None)


@given(payloads, st.integers(1, 4096))
def test_zeros_that_a_lost_power_left_are_no_frame(contents: list[bytes], zeros: int) -> None:
    assert scan_frames(frames(contents) + bytes(zeros)).payloads == contents


def test_mark_can_not_stand_in_a_payload_of_ascii() -> None:
    assert not MARK.isascii()
    assert len(encode_frame(b"x")) - 1 == HEAD_BYTES
