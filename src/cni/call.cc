#include "cni/call.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <optional>

namespace ocicat::cni {
namespace {

namespace json = boost::json;

constexpr std::array kCommands{Command::kAdd,    Command::kDel, Command::kCheck,
                               Command::kStatus, Command::kGc,  Command::kVersion};
// A container's name is part of file names and of documents' names.
constexpr std::size_t kLongestName = 200;
constexpr std::size_t kLongestInterface = 15;  // IFNAMSIZ, without the zero

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::optional<Command> parse_command(std::string_view text) {
  for (const auto command : kCommands) {
    if (to_string(command) == text) return command;
  }
  return std::nullopt;
}

bool is_about_attachment(Command command) {
  return command == Command::kAdd || command == Command::kDel || command == Command::kCheck;
}

std::unexpected<Failure> wrong_environment(std::string what) {
  return refuse(FailureCode::kInvalidEnvironment, "the environment of the call is wrong",
                std::move(what) + "; a container runtime sets this; see: journalctl -u containerd -u crio");
}

std::unexpected<Failure> wrong_configuration(std::string what) {
  return refuse(FailureCode::kInvalidConfiguration, "the network configuration is wrong",
                fmt::format("{}; correct {}", what, kNetworkFile));
}

Outcome<json::object> parse_object(std::string_view text) {
  if (text.size() > kMostConfig) {
    return refuse(FailureCode::kUndecodable, "the network configuration cannot be read",
                  fmt::format("it is longer than {} bytes; correct {}", kMostConfig, kNetworkFile));
  }
  boost::system::error_code error;
  auto value = json::parse(text, error);
  if (error) {
    return refuse(FailureCode::kUndecodable, "the network configuration cannot be read",
                  fmt::format("it is not JSON: {}; correct {}", error.message(), kNetworkFile));
  }
  if (!value.is_object()) {
    return refuse(FailureCode::kUndecodable, "the network configuration cannot be read",
                  fmt::format("it is JSON, and not an object; correct {}", kNetworkFile));
  }
  return std::move(value.get_object());
}

std::string_view text_at(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

Outcome<Version> version_of(const json::object& config) {
  const auto text = text_at(config, "cniVersion");
  if (const auto version = parse_version(text)) return *version;
  return refuse(
      FailureCode::kIncompatibleVersion, "this CNI version is not supported",
      fmt::format("cniVersion is \"{}\", and 0.3.1, 0.4.0, 1.0.0 and 1.1.0 are supported; set it in {}", text,
                  kNetworkFile));
}

Outcome<void> check_version(Command command, Version version) {
  const auto since = command == Command::kCheck                               ? Version::k040
                     : command == Command::kStatus || command == Command::kGc ? Version::k110
                                                                              : Version::k031;
  if (version >= since) return {};
  return refuse(FailureCode::kIncompatibleVersion,
                fmt::format("there is no {} in CNI {}", to_string(command), to_string(version)),
                fmt::format("{} came with CNI {}; set cniVersion in {}", to_string(command), to_string(since),
                            kNetworkFile));
}

// It is sent and noted as JSON.
Outcome<void> check_text(std::string_view variable, std::string_view text) {
  boost::system::error_code error;
  json::parse(json::serialize(json::value(text)), error);
  if (error) return wrong_environment(fmt::format("{} is not UTF-8", variable));
  return {};
}

// "K=V;K=V". Of one name twice the last counts, as in libcni. DEL, which is to succeed, passes over what cannot be read.
Outcome<std::map<std::string, std::string, std::less<>>> read_args(std::string_view text, Command command) {
  std::map<std::string, std::string, std::less<>> args;
  while (!text.empty()) {
    const auto end = std::min(text.find(';'), text.size());
    const auto pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto equals = pair.find('=');
    auto readable = check_text("CNI_ARGS", pair);
    if (readable && (equals == std::string_view::npos || equals == 0))
      readable = wrong_environment(fmt::format("CNI_ARGS: \"{}\" is not KEY=VALUE", pair));
    if (!readable && command == Command::kDel) continue;
    TRY_VOID(readable);
    args.insert_or_assign(std::string(pair.substr(0, equals)), std::string(pair.substr(equals + 1)));
  }
  return args;
}

Outcome<void> check_attachment(const Call& call) {
  if (call.container_id.empty()) return wrong_environment("CNI_CONTAINERID is not set");
  if (call.ifname.empty()) return wrong_environment("CNI_IFNAME is not set");
  if (call.command == Command::kDel) return {};
  if (!is_cni_name(call.container_id)) {
    return wrong_environment(fmt::format(
        "CNI_CONTAINERID \"{}\" must be letters, digits, '.', '_' and '-', {} at most, and begin with "
        "one of the first two",
        call.container_id, kLongestName));
  }
  TRY_VOID(check_text("CNI_IFNAME", call.ifname));
  TRY_VOID(check_text("CNI_NETNS", call.netns));
  if (!is_interface_name(call.ifname))
    return wrong_environment(fmt::format("CNI_IFNAME \"{}\" is no name of an interface", call.ifname));
  if (call.netns.empty()) return wrong_environment("CNI_NETNS is not set");
  return {};
}

Outcome<Call> make_call(const Environment& environment, json::object config) {
  const auto command = parse_command(environment.command);
  if (!command) {
    return wrong_environment(fmt::format(
        "CNI_COMMAND is \"{}\", and ADD, DEL, CHECK, STATUS, GC and VERSION are known", environment.command));
  }
  Call call;
  call.role = environment.role;
  call.command = *command;
  if (call.command == Command::kVersion) {
    // Answered for any version: whoever asks wants to know which there are.
    call.version = parse_version(text_at(config, "cniVersion")).value_or(kVersions.back());
    call.config = std::move(config);
    return call;
  }
  TRY(call.version, version_of(config));
  TRY_VOID(check_version(call.command, call.version));
  if (is_about_attachment(call.command)) {
    call.container_id = environment.container_id;
    call.netns = environment.netns;
    call.ifname = environment.ifname;
    TRY_VOID(check_attachment(call));
    if (call.command == Command::kDel && !check_text("CNI_NETNS", call.netns)) call.netns.clear();
    TRY(call.args, read_args(environment.args, call.command));
  }
  call.network = text_at(config, "name");
  if (!is_cni_name(call.network)) {
    return wrong_configuration(
        fmt::format("name is \"{}\": it must be letters, digits, '.', '_' and '-', {} at most, and begin "
                    "with one of the first two",
                    call.network, kLongestName));
  }
  call.config = std::move(config);
  return call;
}

}  // namespace

std::string_view to_string(Command command) {
  switch (command) {
    case Command::kAdd:
      return "ADD";
    case Command::kDel:
      return "DEL";
    case Command::kCheck:
      return "CHECK";
    case Command::kStatus:
      return "STATUS";
    case Command::kGc:
      return "GC";
    case Command::kVersion:
      return "VERSION";
  }
  return {};
}

bool is_cni_name(std::string_view text) {
  return !text.empty() && text.size() <= kLongestName && is_letter_or_digit(text.front()) &&
         std::ranges::all_of(
             text, [](char c) { return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-'; });
}

bool is_interface_name(std::string_view text) {
  // Of folders, and of settings in /proc/sys/net/ipv4/conf.
  constexpr std::array<std::string_view, 4> kOfTheKernel{".", "..", "all", "default"};
  return !text.empty() && text.size() <= kLongestInterface &&
         std::ranges::find(kOfTheKernel, text) == kOfTheKernel.end() && std::ranges::all_of(text, [](char c) {
           return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%';
         });
}

Outcome<Call> read_call(const Environment& environment, std::string_view config) {
  TRY(auto object, parse_object(config));
  return make_call(environment, std::move(object));
}

Outcome<Call> call_of(const Message& message) {
  TRY(auto call, make_call(message.environment, message.config));
  call.delegates = message.delegates;
  call.given = message.given;
  return call;
}

bool Call::may_have_been_added() const {
  return is_cni_name(container_id) && is_interface_name(ifname);
}

Environment environment_of(const Call& call) {
  std::string args;
  for (const auto& [key, value] : call.args)
    args += fmt::format("{}{}={}", args.empty() ? "" : ";", key, value);
  return {.role = call.role,
          .command = std::string(to_string(call.command)),
          .container_id = call.container_id,
          .netns = call.netns,
          .ifname = call.ifname,
          .args = std::move(args)};
}

std::string to_json(const Message& message) {
  const auto& environment = message.environment;
  const bool addresses = environment.role == Role::kAddresses;
  json::object object{{"plugin", addresses ? kAddressesPlugin : std::string_view("ocicat-cni")},
                      {"command", environment.command},
                      {"containerID", environment.container_id},
                      {"netns", environment.netns},
                      {"namespace", message.namespace_path},
                      {"ifname", environment.ifname},
                      {"args", environment.args},
                      {"config", message.config}};
  if (message.delegates) object["delegates"] = true;
  if (message.given) object["given"] = *message.given;
  return json::serialize(object);
}

Outcome<Message> read_message(std::string_view text) {
  boost::system::error_code error;
  const auto value = json::parse(text, error);
  const auto* object = error ? nullptr : value.if_object();
  const auto* config = object == nullptr ? nullptr : object->if_contains("config");
  if (config == nullptr || !config->is_object()) {
    return refuse(FailureCode::kUndecodable, "the call cannot be read",
                  "it is not what ocicat-cni sends; install the plugin and the agent from one version; see: "
                  "ocicat --version");
  }
  const auto text_of = [&](std::string_view key) { return std::string(text_at(*object, key)); };
  const auto role = text_of("plugin") == kAddressesPlugin ? Role::kAddresses : Role::kNetwork;
  Message read{.environment = {.role = role,
                               .command = text_of("command"),
                               .container_id = text_of("containerID"),
                               .netns = text_of("netns"),
                               .ifname = text_of("ifname"),
                               .args = text_of("args")},
               .config = config->get_object(),
               .namespace_path = text_of("namespace")};
  const auto* delegates = object->if_contains("delegates");
  read.delegates = delegates != nullptr && delegates->is_bool() && delegates->get_bool();
  if (const auto* given = object->if_contains("given"); given != nullptr && given->is_object())
    read.given = given->get_object();
  return read;
}

}  // namespace ocicat::cni
