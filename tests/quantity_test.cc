// Goal: durations and byte counts mean what they say, what is printed is accepted back, and the
// rest is refused in one line. Method: tables of good and bad texts, round trips of random numbers.
#include "metadata/quantity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <functional>

#include "metadata/refused.h"
#include "tests/support/random.h"

namespace rw {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kHour = 3600 * kSecond;

std::string RefusalOf(const std::function<void()>& action) {
  try {
    action();
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), EINVAL);
    EXPECT_THAT(refused.what(), Not(HasSubstr("\n")));
    return refused.what();
  }
  return "";
}

TEST(QuantityTest, DurationsMeanWhatTheySay) {
  const auto ns = [](const char* text) { return ParseDuration("trash", text); };
  EXPECT_EQ(ns("0"), 0u);
  EXPECT_EQ(ns("0s"), 0u);
  EXPECT_EQ(ns("90s"), 90 * kSecond);
  EXPECT_EQ(ns("24h"), 24 * kHour);
  EXPECT_EQ(ns("2h30m"), 2 * kHour + kHour / 2);
  EXPECT_EQ(ns("1w1d1h1m1s1ms1us1ns"), (8 * 24 + 1) * kHour + 61 * kSecond + 1'001'001);
}

TEST(QuantityTest, DurationsArePrintedInDaysAtMost) {
  EXPECT_EQ(FormatDuration(0), "0");
  EXPECT_EQ(FormatDuration(1), "1ns");
  EXPECT_EQ(FormatDuration(24 * kHour), "1d");
  EXPECT_EQ(FormatDuration(60 * 24 * kHour), "60d");
  EXPECT_EQ(FormatDuration(2 * kHour + kHour / 2), "2h30m");
}

TEST(QuantityTest, ByteCountsArePowersOf1024) {
  const auto bytes = [](const char* text) { return ParseByteCount("size", text); };
  EXPECT_EQ(bytes("1"), 1u);
  EXPECT_EQ(bytes("1000"), 1000u);
  EXPECT_EQ(bytes("3k"), 3072u);
  EXPECT_EQ(bytes("20G"), uint64_t{20} << 30);
  EXPECT_EQ(bytes("8191P"), uint64_t{8191} << 50);
  EXPECT_EQ(FormatByteCount(uint64_t{20} << 30), "20G");
  EXPECT_EQ(FormatByteCount(3072), "3K");
  EXPECT_EQ(FormatByteCount(1000), "1000");
}

TEST(QuantityTest, WhatIsPrintedIsAcceptedBack) {
  const uint64_t seed = testing::NumberFromEnvironment("REWIND_SEED", std::random_device{}());
  SCOPED_TRACE("REWIND_SEED=" + std::to_string(seed));
  testing::Random random(seed);
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t number = random.Next() >> random.Below(64);
    ASSERT_EQ(ParseDuration("trash", FormatDuration(number)), number) << FormatDuration(number);
    const uint64_t bytes = (number >> 1) | 1;
    const uint64_t shifted = bytes << random.Below(static_cast<uint64_t>(__builtin_clzll(bytes)));
    ASSERT_EQ(ParseByteCount("size", FormatByteCount(shifted)), shifted)
        << FormatByteCount(shifted);
  }
}

TEST(QuantityTest, BadDurationsAreRefusedWithTheNameOfTheSetting) {
  for (const char* text : {"", "1", "00", "-1h", "1.5h", "1h ", " 1h", "1y", "h", "1h1", "none"}) {
    EXPECT_THAT(RefusalOf([&] { ParseDuration("trash", text); }),
                ::testing::AllOf(HasSubstr("trash=\""), HasSubstr("such as 90s")))
        << text;
  }
  EXPECT_THAT(RefusalOf([] { ParseDuration("trash", "1m1h"); }), HasSubstr("from large to small"));
  EXPECT_THAT(RefusalOf([] { ParseDuration("trash", "30501w"); }), HasSubstr("too long"));
  EXPECT_THAT(RefusalOf([] { ParseDuration("trash", "99999999999999999999s"); }),
              HasSubstr("too long"));
}

TEST(QuantityTest, BadByteCountsAreRefusedWithTheNameOfTheSetting) {
  for (const char* text : {"", "0", "0G", "-1", "+1", "20GB", "G", "1.5G", "8192P", "1 G", "1x",
                           "99999999999999999999", "none"}) {
    EXPECT_THAT(RefusalOf([&] { ParseByteCount("size", text); }),
                ::testing::AllOf(HasSubstr("size=\""), HasSubstr("such as 20G")))
        << text;
  }
}

}  // namespace
}  // namespace rw
