// Damage as disks do it: one flipped bit, a block of zeros, a file that has lost its end.
#pragma once

#include <filesystem>
#include <string>

#include "tests/support/random.h"

namespace rw::testing {

struct Damage {
  enum class Kind { kFlip, kZeroSector, kZeroBlock, kTruncate };
  Kind kind = Kind::kFlip;
  std::filesystem::path file;  // relative to the root
  uint64_t position = 0;       // in bits for kFlip, else in bytes

  std::string Describe() const;
  // False if the file holds the same as before.
  bool Do(const std::filesystem::path& root) const;
};

// "segment", "catalog", "sst", "MANIFEST", …
std::string KindOfFile(const std::filesystem::path& file);

// Draws a kind of file first, so that small files get their share.
Damage DrawDamage(Random& random, const std::filesystem::path& root);

}  // namespace rw::testing
