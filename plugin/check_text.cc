#include "plugin/check_text.h"

#include <nlohmann/json.hpp>

#include "metadata/time_text.h"
#include "plugin/path_text.h"

namespace rw {

nlohmann::json CheckReportToJson(const CheckReport& report) {
  nlohmann::json hurts = nlohmann::json::array();
  for (const Hurt& hurt : report.hurts) {
    nlohmann::json item = {{"kind", HurtKindName(hurt.kind)},
                           {"volumes", hurt.volumes},
                           {"what", hurt.what},
                           {"repaired", hurt.repaired}};
    if (!hurt.path.empty()) item["path"] = TextOfPath(hurt.path);
    if (hurt.length > 0) {
      item["offset"] = hurt.offset;
      item["length"] = hurt.length;
    }
    if (hurt.from != Instant{}) {
      item["from"] = FormatInstant(hurt.from);
      item["until"] = hurt.until == kInstantMax ? "now" : FormatInstant(hurt.until);
    }
    hurts.push_back(std::move(item));
  }
  return {{"sound", report.sound()},
          {"complete", report.complete},
          {"segments", report.segments},
          {"records", report.records},
          {"bytes", report.bytes},
          {"chunk_versions", report.versions},
          {"extents", report.extents},
          {"name_versions", report.names},
          {"inode_versions", report.inodes},
          {"xattr_versions", report.xattrs},
          {"index_damaged", report.index_damaged},
          {"not_listed", report.more},
          {"hurt", std::move(hurts)}};
}

}  // namespace rw
