#include <gtest/gtest.h>

#include "connectors/nexmark/generator.h"
#include "tests/connectors/nexmark/oracle.h"

// The stream of a seed never changes: benchmark results and checkpoints refer to it, and the
// generator in another language is tested against these values.

namespace weir::nexmark {
namespace {

Event EventAt(uint64_t position) {
  GeneratorOptions options;
  options.splits = 1;
  const Generator generator(options);
  Event event;
  generator.Make(generator.At(0, position), event);
  return event;
}

TEST(Golden, APerson) {
  const Person person = EventAt(1'000'000).person;
  EXPECT_EQ(person.id, 21'000);
  EXPECT_EQ(person.name, "Sarah Shultz");
  EXPECT_EQ(person.email_address, "vkbf@fplh.com");
  EXPECT_EQ(person.credit_card, "2008 9387 1118 8312");
  EXPECT_EQ(person.city, "Boise");
  EXPECT_EQ(person.state, "CA");
  EXPECT_EQ(person.date_time.ms, 1436918500000);
  EXPECT_EQ(person.extra,
            "uctzwubtrxpleujqugmfejaotdtvmwvgllwxdxaulpyjajskvkxnjtbiarrakzyawtgpmsfsjhvhfvwlpcppho"
            "gcpverlhwisufuqbgpaxqlrvfmurwnwtojxkoq");
}

TEST(Golden, AnAuction) {
  const Auction auction = EventAt(1'000'002).auction;
  EXPECT_EQ(auction.id, 61'001);
  EXPECT_EQ(auction.item_name, "cmgssjjy  eefhoswv");
  EXPECT_EQ(auction.description, "a wh");
  EXPECT_EQ(auction.initial_bid, 893);
  EXPECT_EQ(auction.reserve, 1053);
  EXPECT_EQ(auction.date_time.ms, 1436918500000);
  EXPECT_EQ(auction.expires.ms, 1436918500280);
  EXPECT_EQ(auction.seller, 21000);
  EXPECT_EQ(auction.category, 14);
  EXPECT_EQ(StableHash(auction.extra), 3248679765574441312u);
}

TEST(Golden, ABid) {
  const Bid bid = EventAt(1'000'017).bid;
  EXPECT_EQ(bid.auction, 60968);
  EXPECT_EQ(bid.bidder, 21001);
  EXPECT_EQ(bid.price, 167690);
  EXPECT_EQ(bid.channel, "Apple");
  EXPECT_EQ(bid.url, "https://www.nexmark.com/rhlb/toxr/yqe/item.htm?query=1");
  EXPECT_EQ(bid.date_time.ms, 1436918500001);
  EXPECT_EQ(bid.extra, "bgsphcdclgkeetommrxjoorrmhbevzsxqgcatbizipuabmupenzmgtpikxnwpgwcsnrz");
}

TEST(Golden, TheFirst10000Events) {
  GeneratorOptions options;
  options.splits = 1;
  const Generator generator(options);
  Digest digest;
  Event event;
  for (uint64_t i = 0; i < 10'000; ++i) {
    generator.Make(generator.At(0, i), event);
    digest.Add(event);
  }
  EXPECT_EQ(digest.sum, 3250211599128904326u);
}

TEST(Golden, AnswersOver100000Events) {
  GeneratorOptions options;
  options.events = 100'000;
  EXPECT_EQ(OracleQ0(options).sum, 14609995113974682780u);
  EXPECT_EQ(OracleQ1(options).sum, 4585832613061946251u);
  EXPECT_EQ(OracleQ2(options).sum, 2522206485443634483u);
  EXPECT_EQ(OracleQ5(options).digest.sum, 5863911019832334957u);
}

}  // namespace
}  // namespace weir::nexmark
