// Goal: whatever happened to a journal's bytes, its scanner gives out records that were written, in
// their order and from the first on, and then ends. Method: the input is a script: what to write
// into a segment, as the journal does it, and then which bytes to change. The file is in memory.
#include <cstring>

#include "fs/scanner.h"
#include "tests/fuzz/fuzz.h"

namespace rw::fuzz {
namespace {

constexpr TimelineId kTimeline = 5;
constexpr uint64_t kGeneration = 1'795'368'660'000'000'000;
constexpr size_t kMaxRecords = 16;

class MemoryFile : public File {
 public:
  explicit MemoryFile(const std::string* bytes) : bytes_(bytes) {}
  size_t ReadAt(std::span<char> out, uint64_t offset) override {
    if (offset >= bytes_->size()) return 0;
    return bytes_->copy(out.data(), out.size(), offset);
  }
  uint64_t Size() override { return bytes_->size(); }
  void WriteAt(std::span<const iovec>, uint64_t) override { std::abort(); }
  void Allocate(uint64_t) override { std::abort(); }
  void Zero(uint64_t, uint64_t) override { std::abort(); }
  void Truncate(uint64_t) override { std::abort(); }
  void SyncData() override { std::abort(); }

 private:
  const std::string* bytes_;
};

// One directory with one segment.
class MemoryLayer : public FileLayer {
 public:
  explicit MemoryLayer(const std::string* bytes) : bytes_(bytes) {}
  std::unique_ptr<File> Open(const std::filesystem::path&, Mode) override {
    return std::make_unique<MemoryFile>(bytes_);
  }
  std::vector<std::string> List(const std::filesystem::path&) override {
    return {SegmentFileName(1)};
  }
  void Remove(const std::filesystem::path&) override { std::abort(); }
  void Rename(const std::filesystem::path&, const std::filesystem::path&) override { std::abort(); }
  void MakeDirectory(const std::filesystem::path&) override { std::abort(); }
  void RemoveDirectory(const std::filesystem::path&) override { std::abort(); }
  void SyncDirectory(const std::filesystem::path&) override { std::abort(); }

 private:
  const std::string* bytes_;
};

std::string Frames(const std::string& data, uint64_t position) {
  std::string frames;
  for (size_t at = 0; at < data.size(); at += kFrameDataBytes) {
    const std::string frame = data.substr(at, kFrameDataBytes);
    const uint32_t checksum =
        FrameChecksum(frame, kGeneration, static_cast<uint32_t>(position + frames.size()));
    frames.append(reinterpret_cast<const char*>(&checksum), sizeof(checksum));
    frames += frame;
  }
  return frames;
}

// Where each record begins.
std::vector<uint32_t> WriteRecords(Script* script, std::string* segment) {
  std::vector<uint32_t> starts;
  const uint64_t count = script->Number(1) % kMaxRecords;
  uint64_t instant = kGeneration;
  for (uint64_t i = 0; i < count; ++i) {
    RecordHeader header;
    header.type = static_cast<RecordType>(2 + script->Number(1) % 16);
    header.instant.ns = instant += 1 + script->Number(1);
    header.generation = kGeneration;
    const std::string body = script->Text(script->Number(1));
    std::string data = script->Text(script->Number(1));
    data.resize(data.size() * (1 + script->Number(1) % 64), 'x');
    header.body_bytes = static_cast<uint32_t>(body.size());
    header.data_bytes = static_cast<uint32_t>(data.size());
    const auto start = static_cast<uint32_t>(segment->size());
    starts.push_back(start);
    *segment += EncodeRecordHeader(header, body, start);
    *segment += Frames(data, segment->size());
    segment->resize(start + header.TotalBytes(), '\0');
  }
  return starts;
}

void Run(Script script) {
  std::string segment = SegmentHeader{kTimeline, 1, kGeneration}.Encode();
  segment.resize(kSegmentHeaderBytes, '\0');
  const std::vector<uint32_t> starts = WriteRecords(&script, &segment);
  segment.append(script.Number(1) * 64, '\0');
  const std::string written = segment;
  while (!script.empty()) {
    const uint64_t at = script.Number(3) % segment.size();
    segment[at] = static_cast<char>(script.Number(1));
  }
  MemoryLayer layer(&segment);
  JournalScanner scanner(&layer, "/journal", kTimeline, {}, Instant{0});
  size_t found = 0;
  while (const auto record = scanner.Next()) {
    if (record->position.segment != 1) break;
    Expect(found < starts.size() && record->position.offset == starts[found],
           "what is found was written there");
    Expect(written.compare(record->position.offset + kRecordHeaderBytes, record->body.size(),
                           record->body) == 0,
           "and is as it was written");
    ++found;
  }
  Expect(segment != written || found == starts.size(), "what is sound is found");
  scanner.LaterRecordsProveDamage();
}

}  // namespace
}  // namespace rw::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rw::fuzz::AllowRefusal([&] { rw::fuzz::Run(rw::fuzz::Script(rw::fuzz::View(data, size))); });
  return 0;
}
