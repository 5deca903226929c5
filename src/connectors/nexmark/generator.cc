#include "connectors/nexmark/generator.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "base/error.h"
#include "connectors/nexmark/random.h"

namespace weir::nexmark {

namespace {

// The published proportions, ids and key space. One block of 50 ids: a person, three auctions, 46
// bids, in that order.
constexpr uint64_t kBlock = 50;
constexpr uint64_t kPersons = 1;
constexpr uint64_t kAuctions = 3;
constexpr int64_t kFirstPerson = 1000;
constexpr int64_t kFirstAuction = 1000;
constexpr int64_t kFirstCategory = 10;
constexpr uint64_t kCategories = 5;
constexpr int64_t kActivePeople = 1000;
constexpr int64_t kInFlightAuctions = 100;
constexpr int64_t kIdLead = 10;  // so many ids that do not exist yet can be referred to
constexpr int64_t kHotGroup = 100;
constexpr uint64_t kHotAuctionRatio = 2;
constexpr uint64_t kHotBidderRatio = 4;
constexpr uint64_t kHotSellerRatio = 4;
constexpr uint64_t kHotChannelRatio = 2;
constexpr int64_t kPersonBytes = 200;
constexpr int64_t kAuctionBytes = 500;
constexpr int64_t kBidBytes = 100;
constexpr uint64_t kEventsOfInFlightAuctions = kInFlightAuctions * kBlock / kAuctions;
constexpr uint64_t kPermutation = 953;  // prime
constexpr uint64_t kMaxGroup = 1'000'000;

constexpr std::array<std::string_view, 11> kFirstNames = {
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"};
constexpr std::array<std::string_view, 9> kLastNames = {
    "Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"};
constexpr std::array<std::string_view, 10> kCities = {
    "Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland",
    "Bend",    "Redmond",     "Seattle",       "Kent",  "Cheyenne"};
constexpr std::array<std::string_view, 6> kStates = {"AZ", "CA", "ID", "OR", "WA", "WY"};

int64_t LastPerson(uint64_t id) { return static_cast<int64_t>(id / kBlock); }

/// Of the auctions made up to this event; -1 before the first.
int64_t LastAuction(uint64_t id) {
  auto block = static_cast<int64_t>(id / kBlock);
  const auto rest = static_cast<int64_t>(id % kBlock);
  if (rest < static_cast<int64_t>(kPersons)) return (block - 1) * 3 + 2;
  return block * 3 + std::min<int64_t>(rest - 1, 2);
}

/// One of the active people, or of those to come soon.
int64_t SomePerson(uint64_t id, Random& random) {
  const int64_t people = LastPerson(id) + 1;
  const int64_t active = std::min(people, kActivePeople);
  return people - active + static_cast<int64_t>(random.Below(active + kIdLead));
}

int64_t SomeAuction(uint64_t id, Random& random) {
  const int64_t last = LastAuction(id);
  const int64_t least = std::max<int64_t>(last - kInFlightAuctions, 0);
  return least + static_cast<int64_t>(random.Below(last - least + 1 + kIdLead));
}

int64_t HotOf(int64_t last) { return last / kHotGroup * kHotGroup; }

/// Letters that bring a record of `size` bytes to about `average`, give or take a fifth of them.
void MakeExtra(int64_t size, int64_t average, Random& random, std::string& out) {
  if (size >= average) {
    out.clear();
    return;
  }
  const int64_t missing = average - size;
  const int64_t delta = (missing * 2 + 5) / 10;  // a fifth, rounded
  const auto length = static_cast<size_t>(
      missing - delta +
      (delta == 0 ? 0 : static_cast<int64_t>(random.Below(static_cast<uint64_t>(2 * delta)))));
  char letters[Random::kMaxLetters];
  static_assert(kAuctionBytes * 6 / 5 + 16 <= Random::kMaxLetters);
  random.Letters(letters, length);
  out.assign(letters, length);
}

template <size_t kCount>
std::string_view OneOf(const std::array<std::string_view, kCount>& words, Random& random) {
  return words[random.Below(kCount)];
}

void AppendFourDigits(uint64_t number, std::string& out) {
  const char digits[] = {
      static_cast<char>('0' + number / 1000), static_cast<char>('0' + number / 100 % 10),
      static_cast<char>('0' + number / 10 % 10), static_cast<char>('0' + number % 10)};
  out.append(digits, sizeof digits);
}

int64_t Length(const std::string& text) { return static_cast<int64_t>(text.size()); }

GeneratorOptions Checked(const GeneratorOptions& options) {
  const auto refuse = [](const std::string& what) {
    ThrowError(ErrorKind::kUser, "nexmark generator: " + what);
  };
  if (options.events_per_second == 0) refuse("events_per_second is 0; it must be at least 1");
  if (options.splits == 0) refuse("splits is 0; it must be at least 1");
  if (options.splitting == Splitting::kContiguous && options.events == 0) {
    refuse("contiguous splits need a number of events; set events, or use strided splits");
  }
  if (options.events != 0 && options.splits > options.events) {
    refuse("there are " + std::to_string(options.splits) + " splits for " +
           std::to_string(options.events) + " events; use at most one for each");
  }
  const uint64_t group = options.out_of_order_group;
  if (group == 0 || group > kMaxGroup || group % kPermutation == 0) {
    refuse("out_of_order_group is " + std::to_string(group) + "; it must be 1.." +
           std::to_string(kMaxGroup) + " and no multiple of " + std::to_string(kPermutation));
  }
  return options;
}

}  // namespace

std::string GeneratorOptions::Fingerprint() const {
  return "events=" + std::to_string(events) +
         ",events_per_second=" + std::to_string(events_per_second) +
         ",seed=" + std::to_string(seed) + ",splits=" + std::to_string(splits) +
         (splitting == Splitting::kContiguous ? ",contiguous" : ",strided") +
         ",out_of_order_group=" + std::to_string(out_of_order_group) +
         (compatibility == Compatibility::kFlink ? ",flink" : ",fixed") +
         ",base_time=" + std::to_string(base_time.ms);
}

Generator::Generator(const GeneratorOptions& options)
    : options_(Checked(options)),
      first_(options.compatibility == Compatibility::kFlink ? 1 : 0),
      millis_per_tick_(options.splitting == Splitting::kContiguous ? 1000u * options.splits
                                                                   : 1000u),
      bidder_offset_(options.compatibility == Compatibility::kFlink ? 2 * kFirstPerson
                                                                    : kFirstPerson),
      channels_(options.seed) {}

uint64_t Generator::SplitSize(uint32_t split) const {
  if (options_.events == 0) return std::numeric_limits<uint64_t>::max();
  const uint64_t even = options_.events / options_.splits;
  const uint64_t rest = options_.events % options_.splits;
  if (options_.splitting == Splitting::kStrided) return even + (split < rest ? 1 : 0);
  return split + 1 == options_.splits ? even + rest : even;
}

/// Shuffles within the group; a group cut short by the end stays in order.
uint64_t Generator::Permute(uint64_t number, uint64_t end) const {
  const uint64_t group = options_.out_of_order_group;
  if (group == 1) return number;
  const uint64_t base = number / group * group;
  if (end - base < group) return number;
  return base + number * kPermutation % group;
}

EventPlace Generator::At(uint32_t split, uint64_t position) const {
  EventPlace place;
  if (options_.splitting == Splitting::kStrided) {
    const uint64_t end =
        options_.events == 0 ? std::numeric_limits<uint64_t>::max() : options_.events;
    place.number = first_ + Permute(split + position * options_.splits, end);
    place.id = first_ + place.number;
  } else {
    const uint64_t begin = options_.events / options_.splits * split;
    place.number = first_ + Permute(position, SplitSize(split));
    place.id = first_ + begin + place.number;
  }
  place.at = TimeOf(place.number);
  return place;
}

Timestamp Generator::TimeOf(uint64_t number) const {
  const uint64_t per_second = options_.events_per_second;
  // In two steps, so that no product overflows before the year 292,000,000.
  const uint64_t millis =
      number / per_second * millis_per_tick_ + number % per_second * millis_per_tick_ / per_second;
  return {options_.base_time.ms + static_cast<int64_t>(millis)};
}

std::chrono::milliseconds Generator::MaxOutOfOrderness() const {
  const uint64_t group = options_.out_of_order_group;
  if (group == 1) return std::chrono::milliseconds(0);
  return TimeOf(group) - TimeOf(0) + std::chrono::milliseconds(1);
}

EventKind Generator::KindOf(uint64_t id) {
  const uint64_t rest = id % kBlock;
  if (rest < kPersons) return EventKind::kPerson;
  return rest < kPersons + kAuctions ? EventKind::kAuction : EventKind::kBid;
}

void Generator::Make(const EventPlace& place, Event& out) const {
  out.kind = KindOf(place.id);
  switch (out.kind) {
    case EventKind::kPerson:
      MakePerson(place, out.person);
      return;
    case EventKind::kAuction:
      MakeAuction(place, out.auction);
      return;
    case EventKind::kBid:
      MakeBid(place, out.bid);
      return;
  }
}

void Generator::MakePerson(const EventPlace& place, Person& out) const {
  Random random(options_.seed ^ place.id);
  char text[8];
  out.id = kFirstPerson + LastPerson(place.id);
  out.name.assign(OneOf(kFirstNames, random)).push_back(' ');
  out.name.append(OneOf(kLastNames, random));
  out.email_address.assign(text, random.Text(7, ' ', text)).push_back('@');
  out.email_address.append(text, random.Text(5, ' ', text)).append(".com");
  out.credit_card.clear();
  for (int part = 0; part < 4; ++part) {
    if (part > 0) out.credit_card.push_back(' ');
    AppendFourDigits(random.Below(10'000), out.credit_card);
  }
  out.city.assign(OneOf(kCities, random));
  out.state.assign(OneOf(kStates, random));
  out.date_time = place.at;
  const int64_t size = 8 + Length(out.name) + Length(out.email_address) + Length(out.credit_card) +
                       Length(out.city) + Length(out.state);
  MakeExtra(size, kPersonBytes, random, out.extra);
}

void Generator::MakeAuction(const EventPlace& place, Auction& out) const {
  Random random(options_.seed ^ place.id);
  char text[100];
  out.id = kFirstAuction + LastAuction(place.id);
  out.seller = kFirstPerson + (random.Hot(kHotSellerRatio) ? HotOf(LastPerson(place.id))
                                                           : SomePerson(place.id, random));
  out.category = kFirstCategory + static_cast<int64_t>(random.Below(kCategories));
  out.initial_bid = random.Price();
  out.date_time = place.at;
  const int64_t horizon =
      TimeOf(place.number + kEventsOfInFlightAuctions).ms - TimeOf(place.number).ms;
  const auto longest = static_cast<uint64_t>(std::max<int64_t>(2 * horizon, 1));
  out.expires = {place.at.ms + 1 + static_cast<int64_t>(random.Below(longest))};
  out.item_name.assign(text, random.Text(20, ' ', text));
  out.description.assign(text, random.Text(100, ' ', text));
  out.reserve = out.initial_bid + random.Price();
  const int64_t size = 8 + Length(out.item_name) + Length(out.description) + 5 * 8;
  MakeExtra(size, kAuctionBytes, random, out.extra);
}

void Generator::MakeBid(const EventPlace& place, Bid& out) const {
  Random random(options_.seed ^ place.id);
  out.auction = kFirstAuction + (random.Hot(kHotAuctionRatio) ? HotOf(LastAuction(place.id))
                                                              : SomeAuction(place.id, random));
  out.bidder = bidder_offset_ + (random.Hot(kHotBidderRatio) ? HotOf(LastPerson(place.id)) + 1
                                                             : SomePerson(place.id, random));
  out.price = random.Price();
  const uint64_t channel = random.Hot(kHotChannelRatio)
                               ? Channels::kCached + random.Below(Channels::kHot)
                               : random.Below(Channels::kCached);
  const Channels::View view = channels_.Get(static_cast<uint32_t>(channel));
  out.channel.assign(view.channel);
  out.url.assign(view.url);
  out.date_time = place.at;
  MakeExtra(4 * 8, kBidBytes, random, out.extra);
}

}  // namespace weir::nexmark
