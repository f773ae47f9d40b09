import base64 as _b64, os as _os, runpy as _runpy, sys as _sys
def _text(data):
    return _b64.b64decode(data).decode("utf-8", "replace")
def _data(text):
    return _b64.b64encode(str(text).encode("utf-8", "surrogateescape")).decode("ascii")
_withheld = {_text(_line).lower() for _line in """@WITHHELD@""".split("\n") if _line}
def _key(name):
    name = name.lower()
    if name in _withheld:
        raise RuntimeError("'%s' is a secret, or reaches one, that this action was not given; name it under secrets: of the action" % name)
    return name
class _Variables(dict):
    def __getitem__(self, name):
        return dict.__getitem__(self, _key(name))
    def __contains__(self, name):
        return dict.__contains__(self, _key(name))
    def get(self, name, default=None):
        return dict.get(self, _key(name), default)
octopusvariables = _Variables()
for _line in """@PAIRS@""".split("\n"):
    if _line:
        _name, _, _value = _line.partition(" ")
        dict.setdefault(octopusvariables, _text(_name).lower(), _text(_value))
def _say(_name, **fields):
    _sys.stdout.write("##mantle[@KEY@ " + _name + "".join(" %s='%s'" % (k, _data(v)) for k, v in fields.items()) + "]\n")
    _sys.stdout.flush()
def _write(level, text):
    _say("stdout-" + level)
    _sys.stdout.write(str(text) + "\n")
    _say("stdout-default")
def get_octopusvariable(name):
    return octopusvariables.get(name, "")
def set_octopusvariable(name, value, sensitive=False):
    if sensitive:
        _say("setVariable", name=name, value=value, sensitive="True")
    else:
        _say("setVariable", name=name, value=value)
def new_octopusartifact(path, name=None):
    path = _os.path.abspath(path)
    if not _os.path.isfile(path):
        write_verbose("there is no file '%s' yet; it is collected when the step is over" % path)
    _say("createArtifact", path=path, name=name or _os.path.basename(path))
def update_progress(percent, message=""):
    _say("progress", percentage=percent, message=message)
def fail_step(message=""):
    if message:
        _say("resultMessage", message=message)
    _sys.exit(1)
def mask_octopusvalue(value):
    _say("mask", value=value)
def write_verbose(text): _write("verbose", text)
def write_highlight(text): _write("highlight", text)
def write_wait(text): _write("wait", text)
def write_warning(text): _write("warning", text)
def write_error(text): _write("error", text)
mantle_get, mantle_set, mantle_fail = get_octopusvariable, set_octopusvariable, fail_step
mantle_progress, mantle_mask, mantle_artifact = update_progress, mask_octopusvalue, new_octopusartifact
mantle_verbose, mantle_highlight, mantle_warning, mantle_error = write_verbose, write_highlight, write_warning, write_error
_script = _text("@SCRIPT@")
_sys.argv[0] = _script
_sys.path[0] = _os.path.dirname(_script)
_given = {k: v for k, v in globals().items() if not k.startswith("_")}
_runpy.run_path(_script, init_globals=_given, run_name="__main__")
