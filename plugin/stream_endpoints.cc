#include "plugin/stream_endpoints.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <exception>
#include <nlohmann/json.hpp>

#include "fs/volume.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/endpoints.h"
#include "plugin/facts.h"
#include "plugin/request.h"
#include "plugin/tree_receiver.h"
#include "plugin/tree_sender.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using Json = nlohmann::json;

// Small frames are passed on together.
constexpr size_t kPieceBytes = 128 << 10;
// How much may be written before the disk is looked at again.
constexpr uint64_t kBytesBetweenLooks = 16 << 20;

struct NobodyReceives {};

// Passes on what is sent in larger pieces.
class Gatherer {
 public:
  explicit Gatherer(const std::function<bool(std::string_view)>& take) : take_(take) {}

  void Add(std::string_view bytes) {
    if (!pending_.empty() && pending_.size() + bytes.size() > kPieceBytes) Flush();
    if (bytes.size() >= kPieceBytes) {
      if (!take_(bytes)) throw NobodyReceives();
      return;
    }
    pending_ += bytes;
  }
  void Flush() {
    if (!pending_.empty() && !take_(pending_)) throw NobodyReceives();
    pending_.clear();
  }

 private:
  const std::function<bool(std::string_view)>& take_;
  std::string pending_;
};

// An import must not be what history of other volumes goes for.
class RoomWatch {
 public:
  explicit RoomWatch(Volumes& volumes) : volumes_(volumes) {}

  void operator()(uint64_t written) {
    if (written < next_look_) return;
    next_look_ = written + kBytesBetweenLooks;
    const uint64_t bytes_short = volumes_.Health().bytes_short;
    if (bytes_short == 0) return;
    throw Refused(ENOSPC, "the disk under the data root is " + HumanBytes(bytes_short) +
                              " short of the reserve that is to stay free");
  }

 private:
  Volumes& volumes_;
  uint64_t next_look_ = 0;
};

void Receive(Volumes& volumes, Volume* volume,
             const std::function<bool(const std::function<bool(std::string_view)>&)>& read,
             Json* report) {
  TreeReceiver receiver(volume, RoomWatch(volumes));
  FrameReader frames([&receiver](const Frame& frame) {
    if (frame.kind == FrameKind::kFailed)
      throw Refused(ECANCELED, "given up by the sender: " + std::string(frame.payload));
    if (frame.kind != FrameKind::kEnd) receiver.Take(frame);
  });
  std::exception_ptr thrown;
  const bool complete = read([&](std::string_view bytes) {
    try {
      frames.Append(bytes);
      return true;
    } catch (...) {
      thrown = std::current_exception();
      return false;
    }
  });
  if (thrown) std::rethrow_exception(thrown);
  if (!complete || !frames.ended()) throw Refused(EPIPE, "the import was broken off");
  receiver.Finish();
  *report = {{"Nodes", receiver.nodes()},
             {"Bytes", receiver.bytes()},
             {"ForeignXattrs", receiver.foreign_xattrs()}};
}

}  // namespace

std::string Guarded(const std::string& endpoint, const std::function<void()>& work) {
  try {
    work();
    return "";
  } catch (const Refused& refused) {
    spdlog::warn("{} refused: {}", endpoint, refused.what());
    return ErrorAnswer(refused.what());
  } catch (const std::exception& error) {
    spdlog::error("{} failed: {}", endpoint, error.what());
    return ErrorAnswer(error.what());
  }
}

ExportStream::ExportStream(Volumes& volumes, const std::string& body) {
  const Json request = ParseBody(body);
  name_ = Text(request, "Name");
  view_ = volumes.View(name_, OptionalText(request, "At"));
}

bool ExportStream::Send(const std::function<bool(std::string_view)>& take) {
  Gatherer gatherer(take);
  try {
    const VolumeUsage usage = view_->Usage();
    const Json start = {{"Instant", FormatInstant(view_->fixed_at())},
                        {"Bytes", usage.live_bytes},
                        {"Inodes", usage.live_inodes}};
    gatherer.Add(EncodeFrame(FrameKind::kStart, start.dump()));
    TreeSender(view_.get(), [&gatherer](std::string_view bytes) { gatherer.Add(bytes); }).Send();
    gatherer.Flush();
    spdlog::info("{} was exported as of {}", Quoted(name_), FormatInstant(view_->fixed_at()));
    return true;
  } catch (const NobodyReceives&) {
    spdlog::warn("the export of {} was broken off", Quoted(name_));
    return false;
  } catch (const std::exception& error) {
    spdlog::error("the export of {} failed: {}", Quoted(name_), error.what());
    try {
      gatherer.Add(EncodeFrame(FrameKind::kFailed, error.what()));
      gatherer.Flush();
      return true;
    } catch (const NobodyReceives&) {
      return false;
    }
  }
}

std::string AnswerImport(
    const std::string& request, const std::function<std::shared_ptr<void>()>& place,
    const std::function<Volumes&()>& volumes,
    const std::function<bool(const std::function<bool(std::string_view)>&)>& read) {
  Json report;
  std::string refusal = Guarded("Rewind.Import", [&] {
    const std::shared_ptr<void> held = place();
    const Json asked = ParseBody(request);
    const std::string name = Text(asked, "Name");
    Volumes& into = volumes();
    into.MakeFilled(name, TextMap(asked, "Opts"),
                    [&](Volume& volume) { Receive(into, &volume, read, &report); });
    spdlog::info("{} was imported", Quoted(name));
  });
  if (!refusal.empty()) return refusal;
  report["Err"] = "";
  return report.dump();
}

}  // namespace rw
