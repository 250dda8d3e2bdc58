// Goal: every text that people use for a time means the instant that it says, and nothing else is
// taken for a time. Method: known values, round trips and comparisons with timegm(3) at random
// instants, and texts broken at random.
#include "metadata/time_text.h"

#include <gtest/gtest.h>
#include <time.h>

#include <cerrno>
#include <random>
#include <string>

#include "metadata/refused.h"

namespace rw {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr Instant kNow{1'795'369'860'500'000'000};  // 2026-11-22T17:51:00.5Z
// The last second that a signed 64-bit count of nanoseconds reaches, in the year 2262.
constexpr uint64_t kLastNs = INT64_MAX;

uint64_t Seed() {
  static const uint64_t seed = std::random_device{}();
  return seed;
}

// The refusal's text, or "" if the text is accepted.
std::string RefusalOf(std::string_view text) {
  try {
    ParseTime(text, kNow);
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), EINVAL) << text;
    return refused.what();
  }
  return "";
}

TEST(TimeTextTest, FormatsInUtcWithNineDigits) {
  EXPECT_EQ(FormatInstant(Instant{0}), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(FormatInstant(Instant{1}), "1970-01-01T00:00:00.000000001Z");
  EXPECT_EQ(FormatInstant(Instant{951'782'400 * kSecond}), "2000-02-29T00:00:00.000000000Z");
  EXPECT_EQ(FormatInstant(kNow), "2026-11-22T17:51:00.500000000Z");
  EXPECT_EQ(FormatInstant(Instant{kLastNs}), "2262-04-11T23:47:16.854775807Z");
}

TEST(TimeTextTest, WhatIsPrintedIsAcceptedAndMeansTheSame) {
  SCOPED_TRACE("seed " + std::to_string(Seed()));
  std::mt19937_64 random(Seed());
  for (int i = 0; i < 100'000; ++i) {
    Instant t{random() % kLastNs};
    ASSERT_EQ(ParseTime(FormatInstant(t), kNow), t) << t.ns;
    std::string fraction = std::to_string(kSecond + t.ns % kSecond).substr(1);
    std::string unix_time = "@" + std::to_string(t.ns / kSecond) + "." + fraction;
    ASSERT_EQ(ParseTime(unix_time, kNow), t) << unix_time;
  }
  EXPECT_EQ(ParseTime(FormatInstant(Instant{0}), kNow), Instant{0});
  EXPECT_EQ(ParseTime(FormatInstant(kInstantMax), kNow), kInstantMax);
}

TEST(TimeTextTest, AgreesWithTheLibraryOnEveryDate) {
  for (time_t day = 0; day < 100'000; ++day) {
    time_t seconds = day * 86400 + day % 86400;
    tm broken = {};
    gmtime_r(&seconds, &broken);
    char text[64];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &broken);
    ASSERT_EQ(ParseTime(text, kNow).ns, static_cast<uint64_t>(seconds) * kSecond) << text;
  }
}

struct Meaning {
  const char* text;
  uint64_t ns;
};

constexpr uint64_t kHour = 3600 * kSecond;
constexpr uint64_t kHalfPastFive = 1'795'368'660 * kSecond;  // 2026-11-22T17:31:00Z
const Meaning kMeanings[] = {
    {"now", kNow.ns},
    {"0s", kNow.ns},
    {"90s", kNow.ns - 90 * kSecond},
    {"10m", kNow.ns - 600 * kSecond},
    {"2h30m", kNow.ns - 2 * kHour - 1800 * kSecond},
    {"3d", kNow.ns - 72 * kHour},
    {"1w1d1h1m1s1ms1us1ns", kNow.ns - 8 * 24 * kHour - kHour - 61 * kSecond - 1'001'001},
    {"0090s", kNow.ns - 90 * kSecond},
    {"25h", kNow.ns - 25 * kHour},
    {"250ms", kNow.ns - 250'000'000},
    // Longer ago than the epoch: before everything.
    {"100w50000d", 0},
    {"20000d", kNow.ns - 20000 * 24 * kHour},
    {"21000d", 0},
    {"@0", 0},
    {"@1795368660", kHalfPastFive},
    {"@1795368660.5", kHalfPastFive + kSecond / 2},
    {"@1795368660.000000001", kHalfPastFive + 1},
    {"2026-11-22T17:31:00Z", kHalfPastFive},
    {"2026-11-22t17:31:00z", kHalfPastFive},
    {"2026-11-22 17:31:00Z", kHalfPastFive},
    {"2026-11-22T17:31:00.5Z", kHalfPastFive + kSecond / 2},
    {"2026-11-22T17:31:00.000000001Z", kHalfPastFive + 1},
    {"2026-11-22T18:31:00+01:00", kHalfPastFive},
    {"2026-11-22T12:01:00-05:30", kHalfPastFive},
    {"2026-11-23T07:31:00+14:00", kHalfPastFive},
    {"2026-11-22T17:31:00-00:00", kHalfPastFive},
    {"1970-01-01T00:00:00Z", 0},
    {"1969-12-31T23:59:59.999Z", 0},
    {"1970-01-01T00:30:00+01:00", 0},
    {"0000-01-01T00:00:00Z", 0},
    {"2024-02-29T00:00:00Z", 1'709'164'800 * kSecond},
    {"2000-02-29T00:00:00Z", 951'782'400 * kSecond},
    // The last instant that 64 bits hold.
    {"2554-07-21T23:34:33.709551615Z", UINT64_MAX},
};

TEST(TimeTextTest, TextsMeanWhatTheySay) {
  for (const Meaning& meaning : kMeanings) {
    EXPECT_EQ(ParseTime(meaning.text, kNow).ns, meaning.ns) << meaning.text;
  }
}

struct Refusal {
  const char* text;
  const char* why;  // part of the message
};

constexpr char kAny[] = "accepted: RFC 3339 with a zone";
const Refusal kRefusals[] = {
    {"", kAny},
    {"yesterday", kAny},
    {"Now", kAny},
    {" now", kAny},
    {"-10m", kAny},
    {"+10m", kAny},
    {"10", kAny},
    {"m", kAny},
    {"10 m", kAny},
    {"10m ", kAny},
    {"10M", kAny},
    {"1.5h", kAny},
    {"10y", kAny},
    {"10mm", kAny},
    {"10m5", kAny},
    {"5s10m", "from large to small"},
    {"5m5m", "at most once"},
    {"99999999999999999999999d", "too long"},
    {"18446744073709551615w", "too long"},
    {"30500w1000000d", "too long"},
    {"@", kAny},
    {"@-1", kAny},
    {"@1.", kAny},
    {"@.5", kAny},
    {"@1x", kAny},
    {"@1.0000000001", "nine fractional digits"},
    {"@18446744074", "too far in the future"},
    {"@99999999999999999999", "too far in the future"},
    {"2026-11-22", "a time and a zone"},
    {"2026-11-22T17:31:00", "no zone"},
    {"2026-11-22T17:31:00.5", "no zone"},
    {"2026-11-22T17:31Z", kAny},
    {"2026-11-22T17:31:00.Z", kAny},
    {"2026-11-22T17:31:00.0123456789Z", "nine fractional digits"},
    {"2026-11-22T17:31:00ZZ", "the zone must be"},
    {"2026-11-22T17:31:00+0100", "the zone must be"},
    {"2026-11-22T17:31:00+01", "the zone must be"},
    {"2026-11-22T17:31:00+24:00", "the zone must be"},
    {"2026-11-22T17:31:00+01:60", "the zone must be"},
    {"2026-11-22T17:31:00 UTC", "the zone must be"},
    {"2026-11-22X17:31:00Z", kAny},
    {"26-11-22T17:31:00Z", kAny},
    {"2026-1-22T17:31:00Z", kAny},
    {"2026-13-01T00:00:00Z", "no such day"},
    {"2026-00-01T00:00:00Z", "no such day"},
    {"2026-04-31T00:00:00Z", "no such day"},
    {"2023-02-29T00:00:00Z", "no such day"},
    {"2100-02-29T00:00:00Z", "no such day"},
    {"2026-11-22T24:00:00Z", "no such time"},
    {"2026-11-22T23:60:00Z", "no such time"},
    {"2026-11-22T23:59:60Z", "no such time"},
    {"2554-07-21T23:34:33.709551616Z", "too far in the future"},
    {"9999-12-31T23:59:59Z", "too far in the future"},
};

TEST(TimeTextTest, RefusalsSayWhyInOneLine) {
  for (const Refusal& refusal : kRefusals) {
    std::string text = RefusalOf(refusal.text);
    EXPECT_NE(text.find(refusal.why), std::string::npos) << refusal.text << ": " << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

TEST(TimeTextTest, BrokenTextsAreRefusedAndNothingWorse) {
  SCOPED_TRACE("seed " + std::to_string(Seed()));
  std::mt19937_64 random(Seed());
  const std::string_view bases[] = {"2026-11-22T17:31:00.5+01:00", "@1795368660.123", "1w2d3h4m5s",
                                    "now"};
  for (int i = 0; i < 200'000; ++i) {
    std::string text(bases[random() % std::size(bases)]);
    for (uint64_t changes = random() % 4 + 1; changes > 0; --changes) {
      size_t at = random() % (text.size() + 1);
      if (random() % 2 == 0 && at < text.size()) {
        text.erase(at, 1);
      } else {
        text.insert(at, 1, static_cast<char>(random() % 3 == 0 ? random() : '0' + random() % 75));
      }
    }
    ASSERT_EQ(RefusalOf(text).find('\n'), std::string::npos);
  }
}

TEST(TimeTextTest, LongGarbageGetsAShortMessage) {
  EXPECT_LT(RefusalOf(std::string(10'000, 'x')).size(), 400u);
}

}  // namespace
}  // namespace rw
