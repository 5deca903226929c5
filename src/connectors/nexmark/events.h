#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/serde/serde.h"
#include "base/timestamp.h"

namespace weir::nexmark {

/// Somebody who sells or bids.
struct Person {
  int64_t id = 0;
  std::string name;
  std::string email_address;
  std::string credit_card;
  std::string city;
  std::string state;
  Timestamp date_time;
  std::string extra;
  bool operator==(const Person&) const = default;
};

/// A thing for sale.
struct Auction {
  int64_t id = 0;
  std::string item_name;
  std::string description;
  int64_t initial_bid = 0;  // prices are in cents
  int64_t reserve = 0;
  Timestamp date_time;
  Timestamp expires;
  int64_t seller = 0;
  int64_t category = 0;
  std::string extra;
  bool operator==(const Auction&) const = default;
};

/// An offer for an auction.
struct Bid {
  int64_t auction = 0;
  int64_t bidder = 0;
  int64_t price = 0;
  std::string channel;
  std::string url;
  Timestamp date_time;
  std::string extra;
  bool operator==(const Bid&) const = default;
};

/// Which of the three an Event is.
enum class EventKind : uint8_t { kPerson = 0, kAuction = 1, kBid = 2 };

/// One of the three; `kind` says which member counts. A struct and not a std::variant, because a
/// row of a batch is a bid now and an auction the next time: each member keeps its strings'
/// capacity meanwhile. Copies, moves, compares and serialises the member that counts alone (moving
/// swaps, so that the row moved from has something to refill).
struct Event {
  EventKind kind = EventKind::kPerson;
  Person person;
  Auction auction;
  Bid bid;

  Event() = default;
  Event(const Event& other) { *this = other; }
  Event(Event&& other) noexcept { *this = std::move(other); }
  Event& operator=(const Event& other) {
    kind = other.kind;
    switch (kind) {
      case EventKind::kPerson:
        person = other.person;
        break;
      case EventKind::kAuction:
        auction = other.auction;
        break;
      case EventKind::kBid:
        bid = other.bid;
        break;
    }
    return *this;
  }
  Event& operator=(Event&& other) noexcept {
    kind = other.kind;
    switch (kind) {
      case EventKind::kPerson:
        std::swap(person, other.person);
        break;
      case EventKind::kAuction:
        std::swap(auction, other.auction);
        break;
      case EventKind::kBid:
        std::swap(bid, other.bid);
        break;
    }
    return *this;
  }
  ~Event() = default;

  bool is_person() const { return kind == EventKind::kPerson; }
  bool is_auction() const { return kind == EventKind::kAuction; }
  bool is_bid() const { return kind == EventKind::kBid; }

  /// Calls f with the member that counts.
  template <class F>
  decltype(auto) Visit(F&& f) const {
    switch (kind) {
      case EventKind::kPerson:
        return f(person);
      case EventKind::kAuction:
        return f(auction);
      case EventKind::kBid:
        break;
    }
    return f(bid);
  }
  Timestamp date_time() const {
    return Visit([](const auto& e) { return e.date_time; });
  }
  friend bool operator==(const Event& a, const Event& b) {
    if (a.kind != b.kind) return false;
    if (a.is_person()) return a.person == b.person;
    return a.is_auction() ? a.auction == b.auction : a.bid == b.bid;
  }
};

}  // namespace weir::nexmark

namespace weir {

/// As a std::variant of the three.
template <>
struct Serde<nexmark::Event> : SerdeBase<nexmark::Event> {
  using Event = nexmark::Event;
  static constexpr size_t kMinSize = 1;

  static size_t Size(const Event& event) {
    return 1 + event.Visit([]<class T>(const T& e) { return Serde<T>::Size(e); });
  }
  static char* Write(const Event& event, char* out) {
    *out = static_cast<char>(event.kind);
    return event.Visit([out]<class T>(const T& e) { return Serde<T>::Write(e, out + 1); });
  }
  static bool Read(ByteReader& reader, Event& event) {
    switch (reader.Get<uint8_t>()) {
      case 0:
        event.kind = nexmark::EventKind::kPerson;
        break;
      case 1:
        event.kind = nexmark::EventKind::kAuction;
        break;
      case 2:
        event.kind = nexmark::EventKind::kBid;
        break;
      default:
        reader.Fail();
    }
    if (!reader.ok()) return false;
    switch (event.kind) {
      case nexmark::EventKind::kPerson:
        return Serde<nexmark::Person>::Read(reader, event.person);
      case nexmark::EventKind::kAuction:
        return Serde<nexmark::Auction>::Read(reader, event.auction);
      case nexmark::EventKind::kBid:
        break;
    }
    return Serde<nexmark::Bid>::Read(reader, event.bid);
  }
  static void Describe(SchemaWriter& out) {
    DescribeSchema<std::variant<nexmark::Person, nexmark::Auction, nexmark::Bid>>(out);
  }
};

}  // namespace weir
