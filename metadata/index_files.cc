#include "metadata/index_files.h"

#include <array>

#include "metadata/coding.h"
#include "metadata/index_tails.h"

namespace rw {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

// RocksDB's log format: blocks of records, none of which crosses the end of a block; a longer one
// is written in pieces.
constexpr size_t kBlockBytes = 32 << 10;
constexpr size_t kHeaderBytes = 7;  // checksum, length (2 bytes), type
enum PieceType : uint8_t { kWhole = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    table[i] = crc;
  }
  return table;
}

// CRC-32C, masked as RocksDB stores it.
uint32_t MaskedCrc(std::string_view bytes) {
  static constexpr auto kTable = MakeCrcTable();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

class IndexFiles : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "rewind"; }

  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* dbg) override {
    const size_t slash = to.rfind('/');
    if (slash != to.npos && to.substr(slash) == "/CURRENT") {
      IOStatus status = SyncDirectory(this, to.substr(0, slash));
      if (!status.ok()) return status;
    }
    return FileSystemWrapper::RenameFile(from, to, options, dbg);
  }

  IOStatus DeleteFile(const std::string& path, const IOOptions& options,
                      IODebugContext* dbg) override {
    if (path.ends_with(".sst")) DropTableTail(target(), path);
    return FileSystemWrapper::DeleteFile(path, options, dbg);
  }
};

struct Piece {
  uint8_t type = 0;
  size_t length = 0;
};

std::optional<Piece> PieceAt(std::string_view manifest, size_t at) {
  if (at + kHeaderBytes > manifest.size()) return std::nullopt;
  const size_t block_left = kBlockBytes - at % kBlockBytes;
  Piece piece;
  piece.type = static_cast<uint8_t>(manifest[at + 6]);
  piece.length = static_cast<size_t>(static_cast<uint8_t>(manifest[at + 4]) |
                                     static_cast<uint8_t>(manifest[at + 5]) << 8);
  if (piece.type < kWhole || piece.type > kLast || piece.length == 0 ||
      kHeaderBytes + piece.length > std::min(block_left, manifest.size() - at) ||
      GetFixed<uint32_t>(manifest.data() + at) !=
          MaskedCrc(manifest.substr(at + 6, 1 + piece.length)))
    return std::nullopt;
  return piece;
}

// What a crash has torn is the last that was written; whatever sound follows was written later, and
// so after what is damaged had been synced.
bool IsTorn(std::string_view manifest, size_t sound) {
  for (size_t at = sound; at + kHeaderBytes <= manifest.size(); ++at) {
    if (PieceAt(manifest, at)) return false;
  }
  return true;
}

}  // namespace

std::shared_ptr<rocksdb::FileSystem> MakeIndexFiles(
    const std::shared_ptr<rocksdb::FileSystem>& target) {
  return std::make_shared<IndexFiles>(target);
}

IOStatus SyncDirectory(rocksdb::FileSystem* files, const std::string& path) {
  std::unique_ptr<rocksdb::FSDirectory> directory;
  const IOStatus status = files->NewDirectory(path, IOOptions(), &directory, nullptr);
  return status.ok() ? directory->Fsync(IOOptions(), nullptr) : status;
}

size_t SoundManifestBytes(const std::string& manifest) {
  size_t sound = 0;
  bool in_pieces = false;
  for (size_t at = 0; at + kHeaderBytes <= manifest.size();) {
    const size_t block_left = kBlockBytes - at % kBlockBytes;
    if (block_left < kHeaderBytes) {
      at += block_left;
      continue;
    }
    const auto piece = PieceAt(manifest, at);
    if (!piece) break;
    const bool begins = piece->type == kWhole || piece->type == kFirst;
    if (begins == in_pieces) break;
    in_pieces = piece->type == kFirst || piece->type == kMiddle;
    at += kHeaderBytes + piece->length;
    if (!in_pieces) sound = at;
  }
  return sound;
}

std::optional<std::string> CutTornManifest(rocksdb::FileSystem* files,
                                           const std::string& directory) {
  std::string name, manifest;
  if (!rocksdb::ReadFileToString(files, directory + "/CURRENT", &name).ok()) return std::nullopt;
  while (!name.empty() && name.back() == '\n') name.pop_back();
  const std::string path = directory + "/" + name;
  if (!rocksdb::ReadFileToString(files, path, &manifest).ok()) return std::nullopt;
  const size_t sound = SoundManifestBytes(manifest);
  if (sound == manifest.size() || sound == 0 || !IsTorn(manifest, sound)) return std::nullopt;
  // RocksDB's file systems need not be able to truncate.
  const std::string temporary = directory + "/000000.dbtmp";
  if (!rocksdb::WriteStringToFile(files, rocksdb::Slice(manifest.data(), sound), temporary, true)
           .ok() ||
      !files->RenameFile(temporary, path, {}, nullptr).ok())
    return std::nullopt;
  return path + ": the last " + std::to_string(manifest.size() - sound) +
         " bytes were torn and are cut off";
}

}  // namespace rw
