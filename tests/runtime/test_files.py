import pytest

from ganport.runtime.errors import ModelNotFoundError, OutputError
from ganport.runtime.files import expand_home, remove_leftovers, replacing, write_bytes


def test_file_is_replaced_only_if_the_block_succeeds(tmp_path):
    target = tmp_path / "deep" / "result.bin"
    write_bytes(target, b"old")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the test is about a block that fails half-way
        with replacing(target) as temporary:
            temporary.write_bytes(b"half of the new")
            raise ZeroDivisionError
    assert target.read_bytes() == b"old"
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["result.bin"]


def test_home_of_an_unknown_user_is_a_folder_with_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home("~/x") == tmp_path / "x"
    assert expand_home("~no-such-user/x").parts == ("~no-such-user", "x")


def test_error_of_the_block_keeps_its_type(tmp_path):
    with pytest.raises(ModelNotFoundError):
        with replacing(tmp_path / "x"):
            raise ModelNotFoundError(tmp_path)


def test_temporary_name_keeps_the_ending_and_is_hidden(tmp_path):
    with replacing(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"")


def test_full_disk_is_an_output_error_and_the_old_file_stays(tmp_path):
    target = tmp_path / "result.bin"
    write_bytes(target, b"old")
    with pytest.raises(OutputError, match="no space left"):  # noqa: PT012
        with replacing(target) as temporary:
            temporary.unlink()
            temporary.symlink_to("/dev/full")
            temporary.write_bytes(b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["result.bin"]


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    (tmp_path / "kept.npz").write_bytes(b"")
    (tmp_path / ".step-1.0a0b0c0d.part.npz").write_bytes(b"")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.npz"]


def test_file_that_is_being_written_is_no_leftover(tmp_path):
    with replacing(tmp_path / "x.onnx") as part:
        for name in (".x.0123abcd.part.onnx", ".y.0123abcd.part.onnx"):
            (tmp_path / name).touch()
        remove_leftovers(tmp_path, "x")
        assert sorted(tmp_path.iterdir()) == sorted([part, tmp_path / ".y.0123abcd.part.onnx"])
        part.write_bytes(b"new")
    assert (tmp_path / "x.onnx").read_bytes() == b"new"
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]
