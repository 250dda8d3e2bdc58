#include "plugin/request.h"

#include <cerrno>

#include "metadata/quoted.h"
#include "metadata/refused.h"

namespace rw {

using Json = nlohmann::json;

Json ParseBody(const std::string& body) {
  // The engine may repeat a request without its body (moby/moby#39331).
  if (body.empty()) throw Refused(EINVAL, "the request has an empty body; a JSON object is needed");
  Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded()) throw Refused(EINVAL, "the request's body is not well-formed JSON");
  if (!json.is_object()) throw Refused(EINVAL, "the request's body is not a JSON object");
  return json;
}

std::string Text(const Json& request, const char* key) {
  auto found = request.find(key);
  if (found == request.end() || !found->is_string()) {
    throw Refused(EINVAL, std::string("the request needs a string \"") + key + "\"");
  }
  return found->get<std::string>();
}

std::optional<std::string> OptionalText(const Json& request, const char* key) {
  auto found = request.find(key);
  if (found == request.end() || found->is_null()) return std::nullopt;
  return Text(request, key);
}

bool Flag(const Json& request, const char* key) {
  const auto found = request.find(key);
  if (found == request.end() || found->is_null()) return false;
  if (!found->is_boolean()) {
    throw Refused(EINVAL, std::string("the request's \"") + key + "\" is neither true nor false");
  }
  return found->get<bool>();
}

std::vector<std::string> TextList(const Json& request, const char* key) {
  std::vector<std::string> texts;
  const auto found = request.find(key);
  if (found == request.end() || !found->is_array()) {
    throw Refused(EINVAL, std::string("the request needs an array \"") + key + "\"");
  }
  for (const Json& text : *found) {
    if (!text.is_string()) {
      throw Refused(EINVAL, std::string("one of \"") + key + "\" is not a string");
    }
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::map<std::string, std::string> TextMap(const Json& request, const char* key) {
  std::map<std::string, std::string> texts;
  auto found = request.find(key);
  // `null` is how the engine says that there are none.
  if (found == request.end() || found->is_null()) return texts;
  if (!found->is_object()) {
    throw Refused(EINVAL, std::string("the request's \"") + key + "\" is not a JSON object");
  }
  for (const auto& [name, value] : found->items()) {
    if (!value.is_string()) {
      throw Refused(EINVAL, "the value of option " + Quoted(name) + " is not a string");
    }
    texts[name] = value.get<std::string>();
  }
  return texts;
}

}  // namespace rw
