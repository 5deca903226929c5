#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace weir {

/// Walks once, forward, over one JSON document. The parser behind it is hidden, so that decoders
/// of user types (templates in public headers) need nothing but this class.
///
///   reader.Begin(bytes);
///   reader.EnterObject();
///   while (reader.NextField(key)) ...     // then one Read, Enter or Skip of its value
///   reader.End();
///
/// The first call that fails says false, as does every later one; error() tells why. On the way
/// out of nested values decoders add where (AddField, AddIndex), innermost first, so that the path
/// costs nothing until it is needed.
///
/// Belongs to one thread. Reused from document to document: its buffers stay.
class JsonReader {
 public:
  /// Values nested deeper are refused (and the parser's own limit is set to it).
  static constexpr size_t kMaxDepth = 64;

  JsonReader();
  ~JsonReader();
  JsonReader(const JsonReader&) = delete;
  JsonReader& operator=(const JsonReader&) = delete;

  /// Starts on a document; checks its UTF-8 and the outline. Copies the bytes.
  bool Begin(std::string_view document);
  /// After the root value: true if nothing follows it.
  bool End();

  /// True, and past it, if the value is null.
  bool SkipNull();
  bool ReadBool(bool& out);
  bool ReadInt(int64_t min, int64_t max, int64_t& out);
  bool ReadUint(uint64_t max, uint64_t& out);
  /// Numbers, and the strings "NaN", "Infinity" and "-Infinity", which is how such values are
  /// written. `max` is the largest that the target takes.
  bool ReadDouble(double max, double& out);
  bool ReadString(std::string& out);
  /// Text that lives until the next call.
  bool ReadText(std::string_view& out);
  /// True if the value is a string; reads nothing.
  bool IsString();

  bool EnterObject();
  /// False at the object's end, and on failure: ask ok() once afterwards. A value that was not
  /// read is skipped. The key lives until the next call.
  bool NextField(std::string_view& key);
  bool EnterArray();
  bool NextElement();

  bool ok() const { return !failed_; }
  /// Fails with a reason of the caller's. Returns false.
  bool Fail(std::string reason);
  void AddField(std::string_view name);
  void AddIndex(size_t index);
  /// For example: field 'items[2].price': expected a number, got "cheap"
  std::string error() const;

  /// A reader for the duration of one Decode: the thread's own, or, inside another Decode on the
  /// same thread, a new one.
  class Lease {
   public:
    Lease();
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    JsonReader& operator*() { return *reader_; }

   private:
    JsonReader* reader_;
    std::unique_ptr<JsonReader> own_;
  };

 private:
  struct Impl;

  bool FailWith(int parser_error, const char* expected);
  bool FailNumber(const char* expected, const std::string& range);
  std::string Got();

  std::unique_ptr<Impl> impl_;
  bool failed_ = false;
  bool leased_ = false;
  std::string reason_;
  std::string path_;
};

/// Checks all of a document, every value of it. On false `error` says why.
bool ValidateJson(std::string_view document, std::string* error);

/// Path of the value in which `offset` lies, as far as a damaged document tells: "items[2].name".
std::string JsonPathAt(std::string_view document, size_t offset);

}  // namespace weir
