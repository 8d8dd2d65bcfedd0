/* The head of a plain SIP message, split in one walk over its bytes (RFC 3261 §7): the opt-in compiled wheel only.

   `plain_head(data)` returns (start line, [(name, value), …], {name: first value}, body), which is what
   `gateway.sip.message` makes of the same bytes, or None. It never says what is wrong with a message: whatever
   is not plain (a folded line, a name that is no token, a stray CR or LF, a second From, no empty line at the
   end, more or longer lines than anybody sends) is None, and then the parser in Python decides, so that there
   is one place where messages are refused. `tests/sip/test_plain_head.py` holds both to the same result.

   Every read is at a pointer that was compared with the end of its line, every line with the end of the data;
   nothing is written but objects of Python's. No state changes after the import. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

/* More is the Python parser's to judge; its own bounds are wider (MAX_HEADER_BYTES, MAX_HEADER_COUNT). */
#define MAX_PLAIN_BYTES 8192
#define MAX_PLAIN_LINES 64

/* Slots for spellings, a power of two; NAMES_LIMIT of them may be taken, so that a search always ends. */
#define SLOTS 512
#define NAMES_LIMIT (SLOTS / 2)

typedef struct {
    PyObject *spelling; /* lower case; NULL: the slot is empty */
    const char *text;   /* of the spelling */
    Py_ssize_t length;
    PyObject *name;     /* canonical */
    int single;         /* may stand once only */
} Known;

typedef struct {
    Known known[SLOTS];
} State;

/* The characters of a token (§25.1), as lower case; 0 for every other byte. */
static unsigned char lower_token[256];

static void
fill_lower_token(void)
{
    for (const char *at = "abcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~"; *at; at++)
        lower_token[(unsigned char)*at] = (unsigned char)*at;
    for (int c = 'A'; c <= 'Z'; c++)
        lower_token[c] = (unsigned char)(c - 'A' + 'a');
}

/* FNV-1a, over lower case. */
#define HASH_START 2166136261u
#define HASH_NEXT(hash, c) (((hash) ^ (c)) * 16777619u)

static int
same_name(const Known *known, const char *name, Py_ssize_t length)
{
    if (known->length != length)
        return 0;
    for (Py_ssize_t i = 0; i < length; i++)
        if (lower_token[(unsigned char)name[i]] != (unsigned char)known->text[i])
            return 0;
    return 1;
}

/* The slot of a name, or the empty one where it would be. */
static Known *
slot_of(State *state, const char *name, Py_ssize_t length, unsigned int hash)
{
    unsigned int at = hash;
    for (;; at++) {
        Known *known = &state->known[at & (SLOTS - 1)];
        if (known->spelling == NULL || same_name(known, name, length))
            return known;
    }
}

static PyObject *
text_of(const char *from, const char *to)
{
    return PyUnicode_DecodeUTF8(from, to - from, "surrogateescape");
}

static int
is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The end of the line that begins at `line`, where its CR stands; NULL if it has none, or another CR or LF. */
static const char *
line_end(const char *line, const char *end)
{
    const char *feed = memchr(line, '\n', (size_t)(end - line));
    if (feed == NULL || feed == line || feed[-1] != '\r')
        return NULL;
    const char *eol = feed - 1;
    return memchr(line, '\r', (size_t)(eol - line)) == NULL ? eol : NULL;
}

/* Take one header line; 1 if it was taken, 0 if it is not plain, -1 with an exception. */
static int
take_header(State *state, const char *line, const char *eol, PyObject *items, PyObject *first)
{
    const char *at = line;
    unsigned int hash = HASH_START;
    for (; at < eol && lower_token[(unsigned char)*at]; at++)
        hash = HASH_NEXT(hash, lower_token[(unsigned char)*at]);
    const char *name_end = at;
    while (at < eol && is_space(*at))
        at++;
    if (name_end == line || at == eol || *at != ':')
        return 0;
    const char *from = at + 1, *to = eol;
    while (from < to && is_space(*from))
        from++;
    while (from < to && is_space(to[-1]))
        to--;

    const Known *known = slot_of(state, line, name_end - line, hash);
    PyObject *name = known->spelling != NULL ? Py_NewRef(known->name) : text_of(line, name_end);
    if (name == NULL)
        return -1;
    PyObject *value = text_of(from, to);
    PyObject *item = value == NULL ? NULL : PyTuple_New(2);
    if (item == NULL) {
        Py_DECREF(name);
        Py_XDECREF(value);
        return -1;
    }
    PyTuple_SET_ITEM(item, 0, name); /* the item has both references now */
    PyTuple_SET_ITEM(item, 1, value);
    int taken = -1;
    Py_ssize_t before = PyDict_GET_SIZE(first);
    if (PyList_Append(items, item) == 0 && PyDict_SetDefault(first, name, value) != NULL)
        taken = PyDict_GET_SIZE(first) > before || known->spelling == NULL || !known->single;
    Py_DECREF(item);
    return taken;
}

/* The whole head: where the body begins; NULL if it is not plain, or with an exception. */
static const char *
take_lines(State *state, const char *line, const char *end, PyObject *items, PyObject *first)
{
    for (int lines = 0; lines < MAX_PLAIN_LINES; lines++) {
        const char *eol = line_end(line, end);
        if (eol == NULL)
            return NULL;
        if (eol == line)
            return eol + 2;
        if (take_header(state, line, eol, items, first) != 1)
            return NULL;
        line = eol + 2;
    }
    return NULL;
}

static PyObject *
plain_head(PyObject *module, PyObject *data)
{
    if (!PyBytes_Check(data)) {
        PyErr_SetString(PyExc_TypeError, "a message is bytes");
        return NULL;
    }
    const char *start = PyBytes_AS_STRING(data), *data_end = start + PyBytes_GET_SIZE(data);
    while (start < data_end && (*start == '\r' || *start == '\n'))
        start++;
    /* The head must end within this; the body behind it may be as long as it is. */
    const char *end = data_end - start > MAX_PLAIN_BYTES ? start + MAX_PLAIN_BYTES : data_end;
    const char *start_end = line_end(start, end);
    if (start_end == NULL || start_end == start)
        Py_RETURN_NONE;

    PyObject *items = PyList_New(0), *first = PyDict_New(), *line = NULL, *rest = NULL, *result = NULL;
    if (items != NULL && first != NULL) {
        const char *body = take_lines(PyModule_GetState(module), start_end + 2, end, items, first);
        if (body != NULL) {
            line = text_of(start, start_end);
            rest = PyBytes_FromStringAndSize(body, data_end - body);
            if (line != NULL && rest != NULL)
                result = PyTuple_Pack(4, line, items, first, rest);
        }
        else if (!PyErr_Occurred())
            result = Py_NewRef(Py_None);
    }
    Py_XDECREF(items);
    Py_XDECREF(first);
    Py_XDECREF(line);
    Py_XDECREF(rest);
    return result;
}

/* Put one spelling into the table; -1 with an exception. */
static int
learn(State *state, PyObject *spelling, PyObject *name, PyObject *singles)
{
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(spelling, &length);
    if (text == NULL)
        return -1;
    unsigned int hash = HASH_START;
    for (Py_ssize_t i = 0; i < length; i++)
        hash = HASH_NEXT(hash, lower_token[(unsigned char)text[i]]);
    int single = PySequence_Contains(singles, name);
    Known *known = slot_of(state, text, length, hash);
    if (single < 0 || known->spelling != NULL)
        return single < 0 ? -1 : 0;
    *known = (Known){Py_NewRef(spelling), text, length, Py_NewRef(name), single};
    return 0;
}

/* Learn the names that `gateway.sip.header_names` knows. */
static int
learn_names(PyObject *module)
{
    State *state = PyModule_GetState(module);
    fill_lower_token();
    PyObject *names = PyImport_ImportModule("gateway.sip.header_names");
    PyObject *table = names == NULL ? NULL : PyObject_GetAttrString(names, "LOWER_CASE");
    PyObject *singles = table == NULL ? NULL : PyObject_GetAttrString(names, "SINGLE");
    int failed = singles == NULL;
    if (!failed && (!PyDict_Check(table) || PyDict_GET_SIZE(table) > NAMES_LIMIT)) {
        PyErr_SetString(PyExc_ImportError, "LOWER_CASE is no dict, or has more names than there is room for");
        failed = 1;
    }
    PyObject *spelling, *name;
    for (Py_ssize_t at = 0; !failed && PyDict_Next(table, &at, &spelling, &name);)
        failed = learn(state, spelling, name, singles) < 0;
    Py_XDECREF(singles);
    Py_XDECREF(table);
    Py_XDECREF(names);
    return failed ? -1 : 0;
}

static int
visit_names(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    for (int i = 0; state != NULL && i < SLOTS; i++) {
        Py_VISIT(state->known[i].spelling);
        Py_VISIT(state->known[i].name);
    }
    return 0;
}

static int
forget_names(PyObject *module)
{
    State *state = PyModule_GetState(module);
    for (int i = 0; state != NULL && i < SLOTS; i++) {
        Py_CLEAR(state->known[i].spelling);
        Py_CLEAR(state->known[i].name);
    }
    return 0;
}

static PyMethodDef functions[] = {
    {"plain_head", plain_head, METH_O, "Start line, headers and body of a plain message; None of any other."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, learn_names},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "gateway.sip.plain_head",
    .m_doc = "The head of a plain SIP message, split in C.",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = visit_names,
    .m_clear = forget_names,
};

PyMODINIT_FUNC
PyInit_plain_head(void)
{
    return PyModuleDef_Init(&definition);
}
