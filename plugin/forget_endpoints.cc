#include "plugin/forget_endpoints.h"

#include <nlohmann/json.hpp>

#include "fs/store.h"
#include "plugin/path_text.h"
#include "plugin/request.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using Json = nlohmann::json;

Json Forget(Volumes& volumes, const Json& request) {
  const ForgetReport report =
      volumes.Forget(Text(request, "Name"), PathOfText(Text(request, "Path")),
                     OptionalText(request, "Copies").has_value());
  return {{"Inodes", report.inodes},
          {"Bytes", report.bytes},
          {"Segments", report.segments},
          {"DamagedPlaces", report.damaged_places}};
}

}  // namespace

const std::map<std::string, Handler>& ForgetHandlers() {
  static const auto* const handlers = new std::map<std::string, Handler>{{"Rewind.Forget", Forget}};
  return *handlers;
}

}  // namespace rw
