#include "connectors/nexmark/generator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "base/error.h"
#include "connectors/nexmark/random.h"

namespace weir::nexmark {
namespace {

GeneratorOptions Options(uint64_t events, uint32_t splits = 1) {
  GeneratorOptions options;
  options.events = events;
  options.splits = splits;
  return options;
}

std::vector<Event> SplitOf(const Generator& generator, uint32_t split) {
  std::vector<Event> events(generator.SplitSize(split));
  for (uint64_t i = 0; i < events.size(); ++i) generator.Make(generator.At(split, i), events[i]);
  return events;
}

std::vector<Event> All(const GeneratorOptions& options) {
  const Generator generator(options);
  std::vector<Event> events;
  for (uint32_t split = 0; split < options.splits; ++split) {
    for (Event& event : SplitOf(generator, split)) events.push_back(std::move(event));
  }
  return events;
}

void SortByTimeAndBytes(std::vector<Event>& events) {
  std::vector<std::pair<std::string, size_t>> order;
  for (size_t i = 0; i < events.size(); ++i) order.emplace_back(SerdeEncode(events[i]), i);
  std::sort(order.begin(), order.end());
  std::vector<Event> sorted;
  for (const auto& [bytes, index] : order) sorted.push_back(events[index]);
  events = std::move(sorted);
}

TEST(Generator, EveryBlockOf50HoldsOnePersonThreeAuctionsAnd46Bids) {
  for (const Compatibility compatibility : {Compatibility::kFixed, Compatibility::kFlink}) {
    GeneratorOptions options = Options(20'000, 3);
    options.compatibility = compatibility;
    std::map<EventKind, int> kinds;
    for (const Event& event : All(options)) ++kinds[event.kind];
    EXPECT_EQ(kinds[EventKind::kPerson], 400);
    EXPECT_EQ(kinds[EventKind::kAuction], 1'200);
    EXPECT_EQ(kinds[EventKind::kBid], 18'400);
  }
}

TEST(Generator, IdsOfPersonsAndAuctionsAreDense) {
  std::set<int64_t> persons;
  std::set<int64_t> auctions;
  for (const Event& event : All(Options(50'000))) {
    if (event.is_person()) persons.insert(event.person.id);
    if (event.is_auction()) auctions.insert(event.auction.id);
  }
  EXPECT_EQ(persons.size(), 1'000u);
  EXPECT_EQ(*persons.begin(), 1000);
  EXPECT_EQ(*persons.rbegin(), 1999);
  EXPECT_EQ(auctions.size(), 3'000u);
  EXPECT_EQ(*auctions.begin(), 1000);
  EXPECT_EQ(*auctions.rbegin(), 3999);
}

TEST(Generator, FlinkCompatibilitySkipsTheFirstIdsAndShiftsBidders) {
  GeneratorOptions options = Options(50'000);
  options.compatibility = Compatibility::kFlink;
  std::set<int64_t> persons;
  std::set<int64_t> auctions;
  int64_t least_bidder = INT64_MAX;
  for (const Event& event : All(options)) {
    if (event.is_person()) persons.insert(event.person.id);
    if (event.is_auction()) auctions.insert(event.auction.id);
    if (event.is_bid()) least_bidder = std::min(least_bidder, event.bid.bidder);
  }
  EXPECT_EQ(*persons.begin(), 1001);
  EXPECT_EQ(*auctions.begin(), 1001);
  EXPECT_EQ(least_bidder, 2000);
}

TEST(Generator, TimesAreSpacedEvenly) {
  const Generator generator(Options(1'000'000));
  EXPECT_EQ(generator.At(0, 0).at, (Timestamp{1436918400000}));
  EXPECT_EQ(generator.At(0, 9).at.ms, 1436918400000);
  EXPECT_EQ(generator.At(0, 10).at.ms, 1436918400001);
  EXPECT_EQ(generator.At(0, 999'999).at.ms, 1436918400000 + 99'999);
  GeneratorOptions endless;
  endless.events_per_second = 10'000'000;
  endless.splits = 1;
  EXPECT_EQ(Generator(endless).At(0, 1'000'000'000'000'000).at.ms, 1436918400000 + 100'000'000'000);
}

TEST(Generator, HotKeysTakeTheirShare) {
  int bids = 0;
  int hot_auction = 0;
  int hot_bidder = 0;
  int hot_channel = 0;
  int auctions = 0;
  int hot_seller = 0;
  for (const Event& event : All(Options(200'000))) {
    if (event.is_bid()) {
      ++bids;
      hot_auction += (event.bid.auction - 1000) % 100 == 0;
      hot_bidder += (event.bid.bidder - 1000) % 100 == 1;
      hot_channel += !event.bid.channel.starts_with("channel-");
    } else if (event.is_auction()) {
      ++auctions;
      hot_seller += (event.auction.seller - 1000) % 100 == 0;
    }
  }
  // The others are spread over keys of which one in a hundred is hot as well.
  EXPECT_NEAR(1.0 * hot_auction / bids, 0.5 + 0.5 * 0.01, 0.01);
  EXPECT_NEAR(1.0 * hot_bidder / bids, 0.75 + 0.25 * 0.01, 0.01);
  EXPECT_NEAR(1.0 * hot_channel / bids, 0.5, 0.01);
  EXPECT_NEAR(1.0 * hot_seller / auctions, 0.75 + 0.25 * 0.01, 0.015);
}

TEST(Generator, ReferencesStayWithinTheActiveKeysAndTheirLead) {
  const Generator generator(Options(300'000));
  Event event;
  for (uint64_t i = 0; i < 300'000; ++i) {
    generator.Make(generator.At(0, i), event);
    const auto last_person = static_cast<int64_t>(i / 50);
    if (event.is_bid()) {
      const auto last_auction = static_cast<int64_t>(i / 50 * 3 + 2);
      ASSERT_LE(event.bid.auction - 1000, last_auction + 10);
      ASSERT_GE(event.bid.auction - 1000, std::max<int64_t>(last_auction - 100 - 99, 0));
      ASSERT_LE(event.bid.bidder - 1000, last_person + 10);
      ASSERT_GE(event.bid.bidder - 1000, std::max<int64_t>(last_person - 999, 0));
    } else if (event.is_auction()) {
      ASSERT_LE(event.auction.seller - 1000, last_person + 10);
    }
  }
}

TEST(Generator, PricesAreLogUniform) {
  std::vector<int> decades(6);
  int bids = 0;
  int q14 = 0;
  for (const Event& event : All(Options(200'000))) {
    if (!event.is_bid()) continue;
    ASSERT_GE(event.bid.price, 100);
    ASSERT_LE(event.bid.price, 100'000'000);
    ++bids;
    ++decades[std::min(5, static_cast<int>(std::log10(static_cast<double>(event.bid.price)) - 2))];
    const int64_t euros = event.bid.price * 908;
    q14 += euros > 1'000'000'000 && euros < 50'000'000'000;
  }
  for (int count : decades) EXPECT_NEAR(1.0 * count / bids, 1.0 / 6, 0.005);
  EXPECT_NEAR(1.0 * q14 / bids, 0.28316, 0.005) << "the selectivity of query 14";
}

TEST(Generator, TheTableOfPricesFollowsThePowers) {
  for (size_t i = 0; i <= 1024; ++i) {
    const double exact = std::pow(10.0, 6.0 * static_cast<double>(i) / 1024) * 100 * 65536;
    EXPECT_NEAR(static_cast<double>(random_internal::kPrices[i]) / exact, 1.0, 2e-7) << i;
  }
}

TEST(Generator, RecordsHaveTheirAverageSizes) {
  std::map<EventKind, double> bytes;
  std::map<EventKind, int> count;
  for (const Event& event : All(Options(100'000))) {
    ++count[event.kind];
    if (event.is_person()) {
      const Person& p = event.person;
      bytes[event.kind] += 8.0 + p.name.size() + p.email_address.size() + p.credit_card.size() +
                           p.city.size() + p.state.size() + p.extra.size();
    } else if (event.is_auction()) {
      const Auction& a = event.auction;
      bytes[event.kind] += 48.0 + a.item_name.size() + a.description.size() + a.extra.size();
      ASSERT_GT(a.expires, a.date_time);
      ASSERT_GE(a.category, 10);
      ASSERT_LE(a.category, 14);
      ASSERT_GT(a.reserve, a.initial_bid);
    } else {
      bytes[event.kind] += 32.0 + event.bid.extra.size();
      ASSERT_GE(event.bid.extra.size(), 54u);
      ASSERT_LE(event.bid.extra.size(), 81u);
    }
  }
  EXPECT_NEAR(bytes[EventKind::kPerson] / count[EventKind::kPerson], 200, 3);
  EXPECT_NEAR(bytes[EventKind::kAuction] / count[EventKind::kAuction], 500, 5);
  EXPECT_NEAR(bytes[EventKind::kBid] / count[EventKind::kBid], 100, 1);
}

TEST(Generator, AuctionsLastTwiceTheTimeOfTheEventsInFlightAtMost) {
  double total = 0;
  int auctions = 0;
  for (const Event& event : All(Options(200'000))) {
    if (!event.is_auction()) continue;
    const auto lifetime = (event.auction.expires - event.auction.date_time).count();
    ASSERT_GE(lifetime, 1);
    ASSERT_LE(lifetime, 2 * 167);
    total += static_cast<double>(lifetime);
    ++auctions;
  }
  EXPECT_NEAR(total / auctions, 166.6, 3);
}

TEST(Generator, UrlsCarryTheChannelsId) {
  int cached = 0;
  int with_id = 0;
  for (const Event& event : All(Options(50'000))) {
    if (!event.is_bid()) continue;
    ASSERT_TRUE(event.bid.url.starts_with("https://www.nexmark.com/")) << event.bid.url;
    const bool has_id = event.bid.url.find("&channel_id=") != std::string::npos;
    if (event.bid.channel.starts_with("channel-")) {
      ++cached;
      with_id += has_id;
    } else {
      ASSERT_FALSE(has_id) << event.bid.url;
    }
  }
  EXPECT_NEAR(1.0 * with_id / cached, 0.9, 0.01);
}

TEST(Generator, StridedEventsDoNotDependOnTheNumberOfSplits) {
  std::vector<Event> one = All(Options(5'003, 1));
  std::vector<Event> seven = All(Options(5'003, 7));
  SortByTimeAndBytes(one);
  SortByTimeAndBytes(seven);
  EXPECT_TRUE(one == seven);
}

TEST(Generator, ContiguousSplitsRunInParallelTime) {
  GeneratorOptions options = Options(1'003, 4);
  options.splitting = Splitting::kContiguous;
  const Generator generator(options);
  std::set<uint64_t> ids;
  for (uint32_t split = 0; split < 4; ++split) {
    EXPECT_EQ(generator.SplitSize(split), split == 3 ? 253u : 250u);
    EXPECT_EQ(generator.At(split, 0).at, options.base_time);
    EXPECT_EQ(generator.At(split, 0).id, split * 250u);
    EXPECT_EQ((generator.At(split, 100).at - options.base_time).count(), 40)
        << "each event stands for four";
    for (uint64_t i = 0; i < generator.SplitSize(split); ++i) {
      ids.insert(generator.At(split, i).id);
    }
  }
  EXPECT_EQ(ids.size(), 1'003u);
  EXPECT_EQ(*ids.rbegin(), 1'002u);
}

TEST(Generator, OutOfOrderGroupsShuffleTheSameEvents) {
  for (const Splitting splitting : {Splitting::kStrided, Splitting::kContiguous}) {
    GeneratorOptions options = Options(10'550, 3);
    options.splitting = splitting;
    std::vector<Event> ordered = All(options);
    options.out_of_order_group = 1000;
    const Generator generator(options);
    std::vector<Event> shuffled;
    bool out_of_order = false;
    for (uint32_t split = 0; split < 3; ++split) {
      Timestamp latest = Timestamp::Min();
      for (const Event& event : SplitOf(generator, split)) {
        if (event.date_time() < latest) {
          out_of_order = true;
          ASSERT_LE(latest - event.date_time(), generator.MaxOutOfOrderness());
        }
        latest = std::max(latest, event.date_time());
        shuffled.push_back(event);
      }
    }
    EXPECT_TRUE(out_of_order);
    SortByTimeAndBytes(ordered);
    SortByTimeAndBytes(shuffled);
    EXPECT_TRUE(ordered == shuffled);
  }
}

TEST(Generator, AnEventMadeIntoAUsedRowIsTheSame) {
  const Generator generator(Options(10'000));
  Event reused;
  for (uint64_t i = 0; i < 10'000; ++i) {
    Event fresh;
    generator.Make(generator.At(0, i), fresh);
    generator.Make(generator.At(0, 9'999 - i), reused);
    generator.Make(generator.At(0, i), reused);
    ASSERT_TRUE(fresh == reused) << i;
  }
}

TEST(Generator, AnotherSeedIsAnotherStream) {
  GeneratorOptions options = Options(1'000);
  const std::vector<Event> first = All(options);
  options.seed = 2;
  const std::vector<Event> second = All(options);
  int equal = 0;
  for (size_t i = 0; i < first.size(); ++i) equal += first[i] == second[i];
  EXPECT_EQ(equal, 0);
}

TEST(Generator, OptionsThatCannotBeAreRefused) {
  const auto message = [](const GeneratorOptions& options) -> std::string {
    try {
      Generator generator(options);
      return "accepted";
    } catch (const Error& error) {
      return error.what();
    }
  };
  GeneratorOptions options;
  EXPECT_EQ(message(options), "accepted");
  options.events_per_second = 0;
  EXPECT_EQ(message(options), "nexmark generator: events_per_second is 0; it must be at least 1");
  options = {};
  options.splits = 0;
  EXPECT_EQ(message(options), "nexmark generator: splits is 0; it must be at least 1");
  options = {};
  options.splitting = Splitting::kContiguous;
  EXPECT_NE(message(options).find("need a number of events"), std::string::npos);
  options = {};
  options.events = 5;
  EXPECT_NE(message(options).find("8 splits for 5 events"), std::string::npos);
  options = {};
  options.out_of_order_group = 2 * 953;
  EXPECT_NE(message(options).find("out_of_order_group is 1906"), std::string::npos);
}

TEST(Event, SerialisesTheMemberThatCounts) {
  const Generator generator(Options(200));
  Event back;
  for (uint64_t i = 0; i < 200; ++i) {
    Event event;
    generator.Make(generator.At(0, i), event);
    const std::string bytes = SerdeEncode(event);
    ASSERT_TRUE(SerdeDecode(bytes, back));
    ASSERT_TRUE(back == event);
    if (event.is_bid()) {
      ASSERT_EQ(bytes, '\2' + SerdeEncode(event.bid));
    }
    ASSERT_FALSE(SerdeDecode(std::string_view(bytes).substr(0, bytes.size() - 1), back));
  }
  EXPECT_FALSE(SerdeDecode("\3", back));
  EXPECT_TRUE(Serde<Event>::SchemaName().starts_with("variant<Person{id:i64,name:string,"));
}

TEST(Event, CopiesAndMovesTheMemberThatCounts) {
  const Generator generator(Options(200));
  Event bid;
  generator.Make(generator.At(0, 60), bid);
  Event copy = bid;
  EXPECT_TRUE(copy == bid);
  Event target;
  generator.Make(generator.At(0, 50), target);
  ASSERT_TRUE(target.is_person());
  const Event person = target;
  target = std::move(copy);
  EXPECT_TRUE(target == bid);
  EXPECT_FALSE(target == person);
}

}  // namespace
}  // namespace weir::nexmark
