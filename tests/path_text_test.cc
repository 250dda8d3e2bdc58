// Goal: any bytes that can be a path have a text of their own that is UTF-8 and leads back to them,
// and the text of an ordinary path is the path.
// Method: cases by hand, and random strings of the characters that matter.
#include "plugin/path_text.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/support/random.h"

namespace rw {
namespace {

using namespace std::string_literals;

TEST(PathTextTest, OrdinaryPathsAreTheirOwnText) {
  for (const std::string path :
       {"/", "/data/orders.csv", "/a b/c\nd", "/größe/日本", R"(/back\slash\new)", R"(/\x)",
        R"(/\xg0)", R"(/\x4)", "/'\"`$*"}) {
    EXPECT_EQ(TextOfPath(path), path);
    EXPECT_EQ(PathOfText(path), path);
    EXPECT_EQ(TextOfArgument(path), path);
  }
}

TEST(PathTextTest, OtherBytesAreWrittenAsNumbers) {
  EXPECT_EQ(TextOfPath("/a\xff/\xc3"), R"(/a\xff/\xc3)");
  EXPECT_EQ(TextOfPath(R"(/\xff)"), R"(/\x5cxff)") << "it would be taken for the byte";
  EXPECT_EQ(PathOfText(R"(/\x5cxff)"), R"(/\xff)");
  EXPECT_EQ(PathOfText(R"(/\xFF\x2f)"), "/\xff/");
  EXPECT_EQ(TextOfArgument("/a\xff"
                           R"(\xfe)"),
            R"(/a\xff\xfe)")
      << "bytes and text alike";
  EXPECT_EQ(Shown("/a\n\x1b[31m\x7f\xc2\x9b"), R"(/a\x0a\x1b[31m\x7f\xc2\x9b)");
}

TEST(PathTextTest, TextsLeadBack) {
  const std::vector<std::string> pieces = {"\\", "x", "5",  "c",    "f",    "F",     "/",    "\xff",
                                           "\n", "ü", "日", "\xc2", "\x9b", "\\x5c", "\\xff"};
  const uint64_t seed = testing::NumberFromEnvironment("REWIND_SEED", 1);
  SCOPED_TRACE("seed " + std::to_string(seed));
  testing::Random random(seed);
  std::map<std::string, std::string> paths;
  for (int i = 0; i < 20'000; ++i) {
    std::string path;
    for (uint64_t length = random.Below(8); length > 0; --length)
      path += pieces[random.Below(pieces.size())];
    const std::string text = TextOfPath(path);
    ASSERT_NO_THROW(nlohmann::json(text).dump()) << text;
    ASSERT_EQ(PathOfText(text), path) << text;
    ASSERT_EQ(PathOfText(Shown(text)), path) << text;
    ASSERT_EQ(PathOfText(TextOfArgument(text)), path) << text;
    ASSERT_EQ(paths.emplace(text, path).first->second, path) << text;
  }
}

}  // namespace
}  // namespace rw
