#include "connectors/format/json_reader.h"

#include <simdjson.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "connectors/format/utf8.h"

namespace weir {

namespace {

namespace ondemand = simdjson::ondemand;

constexpr size_t kExcerpt = 40;

std::string Excerpt(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n' || text.back() == '\r' ||
                           text.back() == '\t')) {
    text.remove_suffix(1);
  }
  if (text.size() <= kExcerpt) return std::string(text);
  size_t end = kExcerpt;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // whole letters
  return std::string(text.substr(0, end)) + "...";
}

/// Why a parser gave up, for messages about the document as a whole.
std::string Reason(int code) {
  switch (code) {
    case simdjson::EMPTY:
      return "the document is empty";
    case simdjson::UNCLOSED_STRING:
      return "a string is not closed";
    case simdjson::UNESCAPED_CHARS:
      return "a control character in a string is not escaped";
    case simdjson::STRING_ERROR:
      return "a string has a bad escape sequence";
    case simdjson::DEPTH_ERROR:
      return "values are nested deeper than " + std::to_string(JsonReader::kMaxDepth);
    case simdjson::CAPACITY:
      return "the document is larger than 4 GiB";
    case simdjson::MEMALLOC:
      return "no memory for the document";
    case simdjson::NUMBER_ERROR:
      return "a number is malformed or out of range";
    case simdjson::T_ATOM_ERROR:
    case simdjson::F_ATOM_ERROR:
    case simdjson::N_ATOM_ERROR:
      return "a word is neither true, false nor null";
    case simdjson::INCOMPLETE_ARRAY_OR_OBJECT:
      return "the document ends early";
    default:
      return "malformed JSON";
  }
}

std::string InvalidUtf8(std::string_view document) {
  const std::string path = JsonPathAt(document, FirstInvalidUtf8(document));
  return (path.empty() ? "" : "field '" + path + "': ") + DescribeInvalidUtf8(document);
}

}  // namespace

struct JsonReader::Impl {
  /// An open object or array. The parser's iterators are small values without resources.
  struct Frame {
    ondemand::object_iterator fields;
    ondemand::array_iterator elements;
    bool at_first = true;
  };

  ondemand::parser parser;
  std::string padded;  // "[" document "]" and the parser's padding
  ondemand::document document;
  ondemand::value value;  // what the next Read reads
  std::array<Frame, kMaxDepth + 1> frames;
  size_t depth = 0;
};

JsonReader::JsonReader() : impl_(std::make_unique<Impl>()) {}
JsonReader::~JsonReader() = default;

// The document is read as the only element of an array: so a bare number or string is a value like
// any other (the parser treats a scalar root apart), and what follows the value shows.
bool JsonReader::Begin(std::string_view document) {
  failed_ = false;
  reason_.clear();
  path_.clear();
  impl_->depth = 0;
  std::string& padded = impl_->padded;
  padded.resize(document.size() + 2 + simdjson::SIMDJSON_PADDING);
  padded[0] = '[';
  document.copy(padded.data() + 1, document.size());  // a record without a value has no bytes
  padded[document.size() + 1] = ']';
  std::memset(padded.data() + document.size() + 2, ' ', simdjson::SIMDJSON_PADDING);

  auto error =
      impl_->parser.iterate(padded.data(), document.size() + 2, padded.size()).get(impl_->document);
  if (error == simdjson::UTF8_ERROR) return Fail(InvalidUtf8(document));
  if (error) return Fail(Reason(error));
  ondemand::array root;
  if ((error = impl_->document.get_array().get(root))) return Fail(Reason(error));
  Impl::Frame& frame = impl_->frames[0];
  frame.at_first = true;
  if ((error = root.begin().get(frame.elements))) return Fail(Reason(error));
  if (!NextElement()) return failed_ ? false : Fail("the document is empty");
  return true;
}

bool JsonReader::End() {
  if (failed_) return false;
  if (NextElement() || failed_) {
    reason_ = "something follows the value";
    failed_ = true;
    return false;
  }
  const bool at_end = impl_->document.current_location().error() == simdjson::OUT_OF_BOUNDS;
  return at_end || Fail("something follows the value");
}

bool JsonReader::EnterArray() {
  if (failed_) return false;
  if (impl_->depth == kMaxDepth) return Fail(Reason(simdjson::DEPTH_ERROR));
  ondemand::array array;
  auto error = impl_->value.get_array().get(array);
  if (error) return FailWith(error, "an array");
  Impl::Frame& frame = impl_->frames[impl_->depth + 1];
  if ((error = array.begin().get(frame.elements))) return FailWith(error, "an array");
  frame.at_first = true;
  ++impl_->depth;
  return true;
}

bool JsonReader::NextElement() {
  if (failed_) return false;
  Impl::Frame& frame = impl_->frames[impl_->depth];
  if (!frame.at_first) ++frame.elements;
  frame.at_first = false;
  if (!(frame.elements != ondemand::array_iterator())) {
    if (impl_->depth > 0) --impl_->depth;
    return false;
  }
  const auto error = (*frame.elements).get(impl_->value);
  if (error) return Fail(Reason(error));
  return true;
}

bool JsonReader::EnterObject() {
  if (failed_) return false;
  if (impl_->depth == kMaxDepth) return Fail(Reason(simdjson::DEPTH_ERROR));
  ondemand::object object;
  auto error = impl_->value.get_object().get(object);
  if (error) return FailWith(error, "an object");
  Impl::Frame& frame = impl_->frames[impl_->depth + 1];
  if ((error = object.begin().get(frame.fields))) return FailWith(error, "an object");
  frame.at_first = true;
  ++impl_->depth;
  return true;
}

bool JsonReader::NextField(std::string_view& key) {
  if (failed_) return false;
  Impl::Frame& frame = impl_->frames[impl_->depth];
  if (!frame.at_first) ++frame.fields;
  frame.at_first = false;
  if (!(frame.fields != ondemand::object_iterator())) {
    --impl_->depth;
    return false;
  }
  ondemand::field field;
  auto error = (*frame.fields).get(field);
  if (!error) error = field.unescaped_key().get(key);
  if (error) return Fail(Reason(error));
  impl_->value = field.value();
  return true;
}

bool JsonReader::SkipNull() {
  bool null = false;
  if (failed_ || impl_->value.is_null().get(null)) return false;
  return null;
}

bool JsonReader::IsString() {
  ondemand::json_type type;
  return !failed_ && !impl_->value.type().get(type) && type == ondemand::json_type::string;
}

bool JsonReader::ReadBool(bool& out) {
  if (failed_) return false;
  const auto error = impl_->value.get_bool().get(out);
  return error ? FailWith(error, "true or false") : true;
}

bool JsonReader::ReadText(std::string_view& out) {
  if (failed_) return false;
  const auto error = impl_->value.get_string().get(out);
  return error ? FailWith(error, "a string") : true;
}

bool JsonReader::ReadString(std::string& out) {
  std::string_view text;
  if (!ReadText(text)) return false;
  out.assign(text);
  return true;
}

bool JsonReader::ReadInt(int64_t min, int64_t max, int64_t& out) {
  if (failed_) return false;
  if (impl_->value.get_int64().get(out) == simdjson::SUCCESS && out >= min && out <= max) {
    return true;
  }
  return FailNumber("an integer", std::to_string(min) + ".." + std::to_string(max));
}

bool JsonReader::ReadUint(uint64_t max, uint64_t& out) {
  if (failed_) return false;
  if (impl_->value.get_uint64().get(out) == simdjson::SUCCESS && out <= max) return true;
  return FailNumber("an integer", "0.." + std::to_string(max));
}

bool JsonReader::ReadDouble(double max, double& out) {
  if (failed_) return false;
  if (impl_->value.get_double().get(out) == simdjson::SUCCESS && std::abs(out) <= max) return true;
  const std::string_view token = impl_->value.raw_json_token();
  if (token.starts_with("\"NaN\"")) {
    out = std::numeric_limits<double>::quiet_NaN();
  } else if (token.starts_with("\"Infinity\"")) {
    out = std::numeric_limits<double>::infinity();
  } else if (token.starts_with("\"-Infinity\"")) {
    out = -std::numeric_limits<double>::infinity();
  } else {
    return FailNumber(
        "a number", max < std::numeric_limits<double>::max() ? "a 32-bit float" : "a 64-bit float");
  }
  std::string_view consumed;
  return impl_->value.get_string().get(consumed) == simdjson::SUCCESS || FailNumber("a number", "");
}

/// What stands where something else was expected.
std::string JsonReader::Got() {
  ondemand::json_type type;
  if (impl_->value.type().get(type)) return "malformed JSON";
  switch (type) {
    case ondemand::json_type::object:
      return "an object";
    case ondemand::json_type::array:
      return "an array";
    default:
      return Excerpt(impl_->value.raw_json_token());
  }
}

bool JsonReader::FailWith(int parser_error, const char* expected) {
  if (parser_error == simdjson::INCORRECT_TYPE) {
    return Fail(std::string("expected ") + expected + ", got " + Got());
  }
  return Fail(Reason(parser_error));
}

bool JsonReader::FailNumber(const char* expected, const std::string& range) {
  ondemand::json_type type;
  const bool number =
      impl_->value.type().get(type) == simdjson::SUCCESS && type == ondemand::json_type::number;
  const std::string got = Got();
  if (number && got.find_first_not_of("-0123456789") == std::string::npos) {
    return Fail(got + " is out of range (" + range + ")");
  }
  double value = 0;
  const bool readable = number && impl_->value.get_double().get(value) == simdjson::SUCCESS;
  if (readable && std::string_view(expected) == "a number") {
    return Fail(got + " is out of range (" + range + ")");
  }
  return Fail(std::string("expected ") + expected + ", got " + got);
}

bool JsonReader::Fail(std::string reason) {
  if (!failed_) reason_ = std::move(reason);
  failed_ = true;
  return false;
}

void JsonReader::AddField(std::string_view name) {
  const bool joined = !path_.empty() && path_[0] != '[';
  path_.insert(0, std::string(name) + (joined ? "." : ""));
}

void JsonReader::AddIndex(size_t index) {
  const bool joined = !path_.empty() && path_[0] != '[';
  path_.insert(0, "[" + std::to_string(index) + "]" + (joined ? "." : ""));
}

std::string JsonReader::error() const {
  return path_.empty() ? reason_ : "field '" + path_ + "': " + reason_;
}

namespace {
JsonReader& ReaderOfThisThread() {
  thread_local JsonReader reader;
  return reader;
}
}  // namespace

JsonReader::Lease::Lease() : reader_(&ReaderOfThisThread()) {
  if (reader_->leased_) {
    own_ = std::make_unique<JsonReader>();
    reader_ = own_.get();
  }
  reader_->leased_ = true;
}

JsonReader::Lease::~Lease() { reader_->leased_ = false; }

bool ValidateJson(std::string_view document, std::string* error) {
  thread_local simdjson::dom::parser parser;
  const auto result = parser.parse(document.data(), document.size()).error();
  if (result && error != nullptr) {
    *error = result == simdjson::UTF8_ERROR ? InvalidUtf8(document) : Reason(result);
  }
  return !result;
}

}  // namespace weir
