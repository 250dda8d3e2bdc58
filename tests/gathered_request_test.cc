// Goal: a request is whole when its last byte has come, however it is cut into pieces, and over
// when it cannot become one that is accepted. Method: every way to cut examples in two, and a byte
// at a time.
#include "plugin/gathered_request.h"

#include <gtest/gtest.h>

#include <string>

namespace rw {
namespace {

constexpr size_t kMaxBodyBytes = 1000;

// How many bytes it took until it was whole, fed a byte at a time; 0 if it never was.
size_t WholeAfter(const std::string& bytes) {
  GatheredRequest request(kMaxBodyBytes);
  for (size_t i = 0; i < bytes.size(); ++i) {
    request.Append(bytes.substr(i, 1));
    if (request.whole()) return i + 1;
  }
  return 0;
}

TEST(GatheredRequestTest, IsWholeAtItsLastByteHoweverItIsCut) {
  for (const std::string whole :
       {"POST /x HTTP/1.1\r\n\r\n", "POST /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: x\r\ncontent-length:  3 \r\nX: y\r\n\r\nabc",
        "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /x HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n"
        "A;x=y\r\n\r\n\r\n0\r\n0\r\n\r\n0\r\nT: z\r\n\r\n"}) {
    EXPECT_EQ(WholeAfter(whole), whole.size()) << whole;
    for (size_t cut = 0; cut <= whole.size(); ++cut) {
      GatheredRequest request(kMaxBodyBytes);
      request.Append(whole.substr(0, cut));
      EXPECT_EQ(request.whole(), cut == whole.size()) << cut << " of " << whole;
      request.Append(whole.substr(cut));
      EXPECT_TRUE(request.whole()) << cut << " of " << whole;
      EXPECT_EQ(request.Take(), whole);
    }
  }
}

TEST(GatheredRequestTest, IsOverWhenItCannotBeAccepted) {
  const std::string length = "POST /x HTTP/1.1\r\nContent-Length: ";
  const std::string chunked = "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& bytes :
       {length + "1001\r\n\r\n", length + "-1\r\n\r\n", length + "1x\r\n\r\n",
        length + "99999999999999999999999\r\n\r\n", chunked + "x\r\n", chunked + "3e9\r\n",
        chunked + "\r\n"}) {
    EXPECT_EQ(WholeAfter(bytes + "more"), bytes.size()) << bytes;
  }
  std::string many = chunked;
  while (many.size() < 10 * kMaxBodyBytes) many += "1\r\nx\r\n";
  EXPECT_NE(WholeAfter(many), 0u) << "a body without an end";
  EXPECT_NE(WholeAfter(std::string(100'000, 'x')), 0u) << "a head without an end";
}

TEST(GatheredRequestTest, KeepsNothingThatComesAfterTheEnd) {
  GatheredRequest request(kMaxBodyBytes);
  request.Append("POST /x HTTP/1.1\r\n\r\n");
  request.Append("more");
  EXPECT_EQ(request.bytes(), "POST /x HTTP/1.1\r\n\r\n");
}

}  // namespace
}  // namespace rw
