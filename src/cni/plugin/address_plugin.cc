#include "cni/plugin/address_plugin.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>

#include "cni/plugin/bounded_run.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;

constexpr std::int64_t kLastOfTheSpecification = 99;
// Far more than addresses and routes of one container take, and what the agent takes with a call.
constexpr std::size_t kMostOutput = std::size_t{32} << 10;

// What a stranger has printed, as far as an error may repeat it.
std::string quoted(std::string_view text) {
  constexpr std::size_t kMost = 500;
  std::string quote(text.substr(0, kMost));
  for (char& c : quote) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  }
  // Half of a character would be no JSON.
  boost::system::error_code error;
  json::parse(json::serialize(json::value(quote)), error);
  if (error) std::ranges::replace_if(quote, [](char c) { return (c & 0x80) != 0; }, '?');
  return quote + (text.size() > kMost ? "…" : "");
}

// As it is; and CNI_… as the call has it, which need not be this process's own.
std::vector<std::string> variables_of(const Environment& call, Command command) {
  std::vector<std::string> variables;
  for (auto** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with("CNI_")) variables.emplace_back(*variable);
  }
  variables.push_back(fmt::format("CNI_COMMAND={}", to_string(command)));
  using Variable = std::pair<const char*, const std::string*>;
  for (const auto& [name, value] : {Variable{"CNI_CONTAINERID", &call.container_id},
                                    Variable{"CNI_NETNS", &call.netns}, Variable{"CNI_IFNAME", &call.ifname},
                                    Variable{"CNI_ARGS", &call.args}, Variable{"CNI_PATH", &call.path}}) {
    if (!value->empty()) variables.push_back(fmt::format("{}={}", name, *value));
  }
  return variables;
}

Failure failed(const std::string& name, Command command, FailureCode code, std::string_view why) {
  return {code, fmt::format("{}, which is to give the addresses, fails at {}", name, to_string(command)),
          fmt::format("{}: {}; what it is told stands under ipam in {}", name, why, kNetworkFile)};
}

// SPEC.md, section 5: an error is an object with code, msg and, maybe, details.
Failure refusal_of(const std::string& name, Command command, const Ran& ran) {
  boost::system::error_code error;
  const auto value = json::parse(ran.output, error);
  const auto* object = error ? nullptr : value.if_object();
  const auto text_at = [&](std::string_view key) {
    const auto* text = object == nullptr ? nullptr : object->if_contains(key);
    return text != nullptr && text->is_string() ? quoted(text->get_string()) : std::string();
  };
  const auto message = text_at("msg");
  const auto details = text_at("details");
  if (message.empty() && details.empty()) {
    const auto end =
        ran.exit_code < 0 ? std::string("ended by a signal") : fmt::format("ended with {}", ran.exit_code);
    return failed(
        name, command, FailureCode::kAddressPlugin,
        fmt::format("{}, and says no reason: {}", end, ran.output.empty() ? "nothing" : quoted(ran.output)));
  }
  const auto* number = object->if_contains("code");
  const auto code = number != nullptr && number->is_int64() ? number->get_int64() : 0;
  const bool is_common = code > 0 && code <= kLastOfTheSpecification;
  return failed(name, command, is_common ? static_cast<FailureCode>(code) : FailureCode::kAddressPlugin,
                fmt::format("{}{}{} (its code {})", message, message.empty() || details.empty() ? "" : ": ",
                            details, code));
}

}  // namespace

Outcome<std::string> AddressPlugin::find() const {
  std::string_view rest = environment_.path;
  const bool is_name = is_cni_name(name_);
  while (is_name && !rest.empty()) {
    const auto end = std::min(rest.find(':'), rest.size());
    const auto file = fmt::format("{}/{}", rest.substr(0, end), name_);
    struct stat status{};
    if (end > 0 && ::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode)) return file;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return refuse(
      FailureCode::kUnsupportedField, "the plugin that is to give the addresses is not there",
      fmt::format(
          "ipam.type is \"{}\", and no plugin of that name is in CNI_PATH, \"{}\"; install it there, or "
          "name another in {}",
          quoted(name_), quoted(environment_.path), kNetworkFile));
}

Outcome<json::object> AddressPlugin::run(Command command, const json::object& config) const {
  TRY(const auto file, find());
  const auto ran = run_bounded(file, variables_of(environment_, command), json::serialize(config),
                               {.patience = patience_, .most_output = kMostOutput});
  if (!ran) return std::unexpected(failed(name_, command, FailureCode::kAddressPlugin, ran.error().message));
  if (ran->exit_code != 0) return std::unexpected(refusal_of(name_, command, *ran));
  if (command != Command::kAdd) return json::object{};
  boost::system::error_code error;
  auto value = json::parse(ran->output, error);
  if (!error && value.is_object()) return std::move(value.get_object());
  return std::unexpected(failed(name_, command, FailureCode::kAddressPlugin,
                                fmt::format("its result is no JSON object: {}",
                                            ran->output.empty() ? "it says nothing" : quoted(ran->output))));
}

}  // namespace ocicat::cni
