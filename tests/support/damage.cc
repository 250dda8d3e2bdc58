#include "tests/support/damage.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <vector>

namespace rw::testing {
namespace {

namespace stdfs = std::filesystem;

}  // namespace

std::string KindOfFile(const stdfs::path& file) {
  const std::string name = file.filename();
  if (name.ends_with(".seg")) return file.parent_path().filename() == "0" ? "catalog" : "segment";
  if (name.ends_with(".sst")) return "sst";
  for (const char* kind : {"MANIFEST", "CURRENT", "OPTIONS", "LOG"})
    if (name.starts_with(kind)) return kind;
  return "other";
}

namespace {

std::string ReadAll(const stdfs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteAll(const stdfs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace

std::string Damage::Describe() const {
  const char* what[] = {"a bit flipped in ", "a sector of zeros in ", "a block of zeros in ",
                        "the end lost of "};
  return what[static_cast<int>(kind)] + file.string() + " at byte " +
         std::to_string(kind == Kind::kFlip ? position / 8 : position);
}

bool Damage::Do(const stdfs::path& root) const {
  std::string bytes = ReadAll(root / file);
  const std::string before = bytes;
  const uint64_t length = kind == Kind::kZeroSector ? 512 : 4096;
  switch (kind) {
    case Kind::kFlip:
      bytes[position / 8] = static_cast<char>(bytes[position / 8] ^ (1 << position % 8));
      break;
    case Kind::kZeroSector:
    case Kind::kZeroBlock:
      std::fill(bytes.begin() + static_cast<ptrdiff_t>(position / length * length),
                bytes.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(
                                    bytes.size(), position / length * length + length)),
                '\0');
      break;
    case Kind::kTruncate:
      bytes.resize(position);
      break;
  }
  if (bytes == before) return false;
  WriteAll(root / file, bytes);
  return true;
}

Damage DrawDamage(Random& random, const stdfs::path& root) {
  std::map<std::string, std::vector<stdfs::path>> kinds;
  for (const auto& entry : stdfs::recursive_directory_iterator(root)) {
    if (entry.is_regular_file() && entry.file_size() > 0)
      kinds[KindOfFile(entry.path())].push_back(stdfs::relative(entry.path(), root));
  }
  for (auto& [kind, files] : kinds) std::sort(files.begin(), files.end());
  // Most of a store is segments and tables.
  std::vector<std::string> lots;
  for (const auto& [kind, files] : kinds) lots.push_back(kind);
  for (int i = 0; i < 3; ++i) lots.insert(lots.end(), {"segment", "sst"});
  for (;;) {
    const auto& files = kinds[random.PickFrom(lots)];
    if (files.empty()) continue;
    Damage damage;
    damage.file = random.PickFrom(files);
    const uint64_t size = stdfs::file_size(root / damage.file);
    damage.kind =
        random.Percent(50) ? Damage::Kind::kFlip : static_cast<Damage::Kind>(1 + random.Below(3));
    damage.position = random.Below(damage.kind == Damage::Kind::kFlip ? size * 8 : size);
    return damage;
  }
}

}  // namespace rw::testing
