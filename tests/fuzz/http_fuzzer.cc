// Goal: whether a request is whole does not depend on how it is cut into pieces, and nothing is
// lost or added. Method: the same bytes at once, and in pieces of sizes that the first byte
// chooses.
#include <algorithm>

#include "plugin/gathered_request.h"
#include "tests/fuzz/fuzz.h"

namespace rw::fuzz {
namespace {

constexpr size_t kMaxBodyBytes = 256;

void Run(Script script) {
  const size_t piece_bytes = 1 + script.Number(1) % 16;
  const std::string_view bytes = script.rest();
  GatheredRequest in_pieces(kMaxBodyBytes);
  size_t taken = 0;
  while (taken < bytes.size() && !in_pieces.whole()) {
    const std::string_view piece = bytes.substr(taken, piece_bytes);
    in_pieces.Append(piece);
    taken += piece.size();
  }
  GatheredRequest at_once(kMaxBodyBytes);
  at_once.Append(bytes.substr(0, taken));
  Expect(at_once.whole() == in_pieces.whole(), "whole at once as in pieces");
  Expect(at_once.bytes() == in_pieces.bytes(), "the same bytes");
  Expect(at_once.bytes() == bytes.substr(0, taken), "what was sent");
}

}  // namespace
}  // namespace rw::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rw::fuzz::Run(rw::fuzz::Script(rw::fuzz::View(data, size)));
  return 0;
}
