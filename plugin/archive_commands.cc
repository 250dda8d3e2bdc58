#include "plugin/archive_commands.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "plugin/archive_reader.h"
#include "plugin/archive_writer.h"
#include "plugin/client.h"
#include "plugin/commands.h"
#include "plugin/facts.h"
#include "plugin/output_file.h"
#include "plugin/progress_bar.h"
#include "plugin/stream_client.h"
#include "plugin/stream_endpoints.h"
#include "plugin/tree_stream.h"

namespace rw {
namespace {

using Json = nlohmann::json;

constexpr size_t kPieceBytes = 256 << 10;
constexpr uid_t kNobody = 65534;

// libarchive writes names by the locale; those that are UTF-8 are to be marked as such.
void UseUtf8() { std::setlocale(LC_CTYPE, "C.UTF-8"); }

// Before an archive of unknown origin is decoded. Whoever runs this as a user has none to give up.
void GiveUpEverything() {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (geteuid() != 0) return;
  if (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
      setresuid(kNobody, kNobody, kNobody) != 0) {
    throw Refused(errno, std::string("cannot give up privileges: ") + std::strerror(errno));
  }
}

bool IsStandard(const std::string& file) { return file.empty() || file == "-"; }

// A part of a tar header: no reader takes what ends so for a whole archive, wherever it was broken
// off.
constexpr std::string_view kBrokenEnd = "broken off";

void PrintExport(const Json& start, const Json& end, const ExportRequest& request, bool json) {
  const uint64_t sockets = end.value("Sockets", uint64_t{0});
  if (json && !IsStandard(request.file)) {
    std::cout << Json{{"instant", start.at("Instant")},
                      {"inodes", end.at("Nodes")},
                      {"bytes", end.at("Bytes")},
                      {"sockets_left_out", sockets}}
                     .dump()
              << '\n';
  }
  if (sockets > 0) {
    std::cerr << "rewind: note: " << sockets << (sockets == 1 ? " socket is" : " sockets are")
              << " not in the archive, which has no such thing\n";
  }
}

}  // namespace

void ExportCommand(const std::filesystem::path& socket, const ExportRequest& request, bool json) {
  signal(SIGPIPE, SIG_IGN);
  UseUtf8();
  const bool to_standard = IsStandard(request.file);
  if (to_standard && isatty(STDOUT_FILENO) != 0) {
    throw Refused(EINVAL,
                  "standard output is a terminal: name a file with -o, or pipe the archive on");
  }
  OutputFile file(to_standard ? "" : request.file);
  uint64_t written = 0;
  ProgressBar bar("exporting " + request.name);
  Json start, end;
  try {
    ArchiveWriter writer([&](std::string_view bytes) {
      file.Write(bytes);
      written += bytes.size();
      bar.Show(written, start.value("Bytes", uint64_t{0}));
    });
    FrameReader frames([&](const Frame& frame) {
      if (frame.kind == FrameKind::kStart) {
        start = Json::parse(frame.payload);
      } else if (frame.kind == FrameKind::kFailed) {
        throw Refused(EIO, "the export failed: " + std::string(frame.payload));
      } else if (frame.kind == FrameKind::kEnd) {
        end = Json::parse(frame.payload);
      } else {
        writer.Take(frame);
      }
    });
    Json body = {{"Name", request.name}};
    if (!request.at.empty()) body["At"] = request.at;
    AskForStream(socket, "Rewind.Export", body,
                 [&frames](std::string_view bytes) { frames.Append(bytes); });
    if (!frames.ended()) throw Refused(EIO, "the export was broken off: the daemon ended");
    writer.Finish();
    file.Keep();
  } catch (...) {
    bar.Erase();
    if (to_standard && written > 0) {
      try {
        file.Write(kBrokenEnd);
      } catch (const Refused&) {  // nobody reads it
      }
    }
    throw;
  }
  bar.Erase();
  PrintExport(start, end, request, json);
}

void ImportCommand(const std::filesystem::path& socket, const ImportRequest& request, bool json) {
  signal(SIGPIPE, SIG_IGN);
  ArchiveSource source;
  source.fd = STDIN_FILENO;
  uint64_t total = 0;
  if (!IsStandard(request.file)) source.fd = open(request.file.c_str(), O_RDONLY | O_CLOEXEC);
  if (source.fd < 0)
    throw Refused(errno, "cannot read " + request.file + ": " + std::strerror(errno));
  struct stat found {};
  if (fstat(source.fd, &found) == 0 && S_ISREG(found.st_mode))
    total = static_cast<uint64_t>(found.st_size);
  if (isatty(source.fd) != 0)
    throw Refused(EINVAL, "standard input is a terminal: name a file, or pipe an archive in");
  ProgressBar bar("importing " + request.name);
  source.on_progress = [&](uint64_t read) { bar.Show(read, total); };

  const Json asked = {{"Name", request.name}, {"Opts", KeysAndValues(request.options)}};
  std::string head;
  try {
    head = std::string(kImportRequestHeader) + ": " + asked.dump(-1, ' ', true);
  } catch (const Json::exception&) {
    throw Refused(EINVAL, "names and options must be UTF-8");
  }
  StreamRequest stream(socket, "Rewind.Import", head);
  GiveUpEverything();
  std::optional<Refused> failure;
  try {
    std::string pending;
    ReadArchive(source, [&](std::string_view bytes) {
      pending += bytes;
      if (pending.size() < kPieceBytes) return;
      stream.Send(pending);
      pending.clear();
    });
    stream.Send(pending);
    stream.End();
  } catch (const AnsweredEarly&) {
  } catch (const Refused& refused) {
    failure.emplace(refused);
  }
  if (failure) {
    // The daemon has to have removed what there was before this says that there is nothing.
    try {
      stream.Send(EncodeFrame(FrameKind::kFailed, failure->what()));
      stream.End();
      stream.Answer();
    } catch (const AnsweredEarly&) {
    } catch (const Refused&) {
    }
    bar.Erase();
    throw Refused(failure->error(), failure->what() + std::string("; nothing was imported"));
  }
  const Json answer = stream.Answer();
  bar.Erase();
  if (json) {
    std::cout << Json{{"name", request.name},
                      {"inodes", answer.at("Nodes")},
                      {"bytes", answer.at("Bytes")},
                      {"xattrs_left_out", answer.at("ForeignXattrs")}}
                     .dump()
              << '\n';
  } else {
    std::cout << request.name << '\n';
  }
  if (const uint64_t foreign = answer.at("ForeignXattrs"); foreign > 0) {
    std::cerr << "rewind: note: " << foreign
              << " xattrs of kinds that volumes do not keep were left "
              << "out\n";
  }
}

}  // namespace rw
