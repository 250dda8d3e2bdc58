#include "plugin/check_command.h"

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <nlohmann/json.hpp>

#include "fs/store.h"
#include "metadata/quantity.h"
#include "metadata/refused.h"
#include "plugin/check_text.h"
#include "plugin/client.h"
#include "plugin/path_text.h"
#include "plugin/printing.h"
#include "plugin/progress_bar.h"
#include "plugin/waiting.h"

namespace rw {
namespace {

using Json = nlohmann::json;

Json CheckOnline(const std::filesystem::path& socket, const CheckRequest& request) {
  Json asked = {{"Repair", request.repair}, {"Rate", request.rate}};
  if (!request.name.empty()) asked["Name"] = request.name;
  if (!request.at.empty()) asked["At"] = request.at;
  const auto ask = [&] {
    return AskPatiently(socket, "Rewind.Check", asked, "", "checking").at("Report");
  };
  Json report = ask();
  if (!request.repair || !report.at("index_damaged")) return report;
  try {
    Ask(socket, "Rewind.MakeIndexAgain", Json::object());
  } catch (const Refused& refused) {
    if (refused.error() != EIO) throw;  // it ended, as it was asked to
  }
  return ask();
}

Json CheckOffline(const CheckRequest& request) {
  const std::filesystem::path root = request.root;
  if (!std::filesystem::exists(root / "journal"))
    throw Refused(ENOENT, "there is no data root at " + request.root);
  StoreOptions options(root);
  options.collector.background = false;
  CheckOptions asked;
  asked.volume = request.name;
  asked.repair = request.repair;
  if (request.rate != "0") asked.bytes_per_second = ParseByteCount("rate", request.rate);
  ProgressBar bar("checking", ProgressBar::Unit::kThings);
  asked.progress = [&bar](const CheckProgress& progress) {
    bar.Show(progress.done, progress.total, progress.step);
  };
  const auto check = [&] {
    const auto store = Store::Open(options);
    if (!request.at.empty()) {
      if (request.name.empty()) throw Refused(EINVAL, "a time is one of a volume: name the volume");
      asked.at = store->InstantOf(request.name, request.at);
    }
    return store->Check(asked);
  };
  CheckReport report = check();
  if (request.repair && report.index_damaged) report = check();  // opening has made it again
  return CheckReportToJson(report);
}

void PrintHurt(const Json& hurt) {
  std::cout << hurt.at("kind").get<std::string>() << ": ";
  if (!hurt.at("volumes").empty()) std::cout << ToText(hurt.at("volumes")) << ": ";
  if (hurt.contains("path")) std::cout << Shown(ToText(hurt.at("path"))) << ' ';
  if (hurt.contains("length")) {
    const uint64_t offset = hurt.at("offset");
    std::cout << "bytes " << offset << " to " << offset + hurt.at("length").get<uint64_t>() << ' ';
  }
  if (hurt.contains("from")) {
    std::cout << "from " << ToText(hurt.at("from")) << " until " << ToText(hurt.at("until"))
              << ": ";
  }
  std::cout << Shown(ToText(hurt.at("what")));
  if (hurt.at("repaired")) std::cout << " (repaired)";
  std::cout << '\n';
}

void PrintReport(const Json& report) {
  for (const Json& hurt : report.at("hurt")) PrintHurt(hurt);
  if (report.at("not_listed") > 0) std::cout << "and " << report.at("not_listed") << " more\n";
  if (report.at("index_damaged"))
    std::cout << "the index is damaged: --repair makes it again, and so does the next start\n";
  std::cout << (report.at("sound") ? "sound" : "hurt");
  if (!report.at("complete")) std::cout << " so far: the check was ended early";
  std::cout << "; checked " << report.at("segments") << " segments with " << report.at("records")
            << " records, " << report.at("extents") << " extents, " << report.at("name_versions")
            << " versions of names and " << report.at("inode_versions") << " of inodes\n";
}

}  // namespace

int CheckCommand(const std::filesystem::path& socket, const CheckRequest& request, bool json) {
  try {
    const Json report = request.root.empty() ? CheckOnline(socket, request) : CheckOffline(request);
    json ? PrintJson(report) : PrintReport(report);
    if (!report.at("sound")) return kCheckHurt;
    return report.at("complete") ? kCheckSound : kCheckFailed;
  } catch (const std::exception& error) {
    std::string line = error.what();
    std::replace(line.begin(), line.end(), '\n', ' ');
    std::cerr << "rewind: " << line << std::endl;
    return kCheckFailed;
  }
}

}  // namespace rw
