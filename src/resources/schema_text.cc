#include "resources/schema_text.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/ip.h"
#include "resources/selector/selector.h"

namespace ocicat::schema {

namespace {

re2::StringPiece piece(std::string_view text) {
  return {text.data(), text.size()};
}

bool fits(std::string_view text, const re2::RE2& pattern) {
  return re2::RE2::FullMatch(piece(text), pattern);
}

std::string unless(bool fine, std::string_view rule) {
  return fine ? std::string() : std::string(rule);
}

// --- addresses

std::string check_address(std::string_view text, std::optional<Family> family, std::string_view rule) {
  const auto address = IpAddress::parse(text);
  return unless(address && (!family || address->family() == *family), rule);
}

std::string check_ip(std::string_view text) {
  return check_address(text, {}, "must be an IP address");
}
std::string check_ipv4(std::string_view text) {
  return check_address(text, Family::kIpv4, "must be an IPv4 address");
}
std::string check_ipv6(std::string_view text) {
  return check_address(text, Family::kIpv6, "must be an IPv6 address");
}

std::string check_prefix(std::string_view text, std::optional<Family> family) {
  const auto prefix = Prefix::parse(text, true);
  if (prefix && (!family || prefix->family() == *family)) return {};
  if (!family) return "must be an address or a CIDR such as 10.0.0.0/16";
  return *family == Family::kIpv4 ? "must be an IPv4 address or CIDR such as 10.0.0.0/16"
                                  : "must be an IPv6 address or CIDR such as fd00:10::/64";
}

std::string check_net(std::string_view text, std::optional<Family> family) {
  if (auto rule = check_prefix(text, family); !rule.empty()) return rule;
  const auto prefix = Prefix::parse(text, true);
  if (prefix->is_masked()) return {};
  return fmt::format("bits are set beyond the prefix length; write {}", prefix->masked().to_string());
}

std::string check_cidr_format(std::string_view text) {
  return unless(Prefix::parse(text).has_value(),
                "must be a CIDR, an address with a prefix length such as 10.0.0.0/16");
}

std::string check_ip_port(std::string_view text) {
  static const re2::RE2 kWithPort(R"((?:([0-9.]+)|\[([0-9a-fA-F:.]+)\]):([0-9]{1,5}))");
  if (IpAddress::parse(text)) return {};
  std::string v4;
  std::string v6;
  int port = 0;
  const bool fine = re2::RE2::FullMatch(piece(text), kWithPort, &v4, &v6, &port) && port >= 1 &&
                    port <= 65535 && IpAddress::parse(v4.empty() ? v6 : v4);
  return unless(fine, "must be an address, or an address and a port such as 10.0.0.1:179 or [fd00::1]:179");
}

// --- words

std::string check_interface(std::string_view text) {
  static const re2::RE2 kPattern(R"(\*|[a-zA-Z0-9_.-]{1,15})");
  return unless(fits(text, kPattern),
                "must be the name of an interface, at most 15 of a-z A-Z 0-9 _ . -, or *");
}

std::string check_interface_name(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-zA-Z0-9_.-]{1,15})");
  return unless(fits(text, kPattern), "must be the name of an interface, at most 15 of a-z A-Z 0-9 _ . -");
}

std::string check_interface_filter(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-zA-Z0-9:._+-]{1,15})");
  return unless(fits(text, kPattern),
                "must be the name of an interface, at most 15 of a-z A-Z 0-9 : . _ + -");
}

std::string check_filter_interface(std::string_view text) {
  static const re2::RE2 kPattern(R"(\*|[a-zA-Z0-9_.*-]{1,15})");
  return unless(fits(text, kPattern), "must be the name or a pattern of interfaces, at most 15 characters");
}

std::string check_ignored_interface(std::string_view text) {
  return text == "*" ? "must not be *, which would ignore every interface" : check_filter_interface(text);
}

std::string check_name(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)");
  return unless(fits(text, kPattern),
                "must be a name of a-z, 0-9, - and ., each part beginning and ending with a letter or digit");
}

std::string check_container_id(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)");
  return unless(fits(text, kPattern),
                "must be letters, digits and -, beginning and ending with a letter or digit");
}

std::string check_port_name(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-z0-9]+(-[a-z0-9]+)*)");
  const bool has_letter = std::ranges::any_of(text, [](char c) { return c >= 'a' && c <= 'z'; });
  return unless(text.size() <= 15 && has_letter && fits(text, kPattern),
                "must be the name of a port: at most 15 of a-z 0-9 -, at least one letter, no - at the ends "
                "or doubled");
}

std::string check_mac(std::string_view text) {
  static const re2::RE2 kPattern(
      "(?i)[0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9a-f]{2}(:[0-9a-f]{2}){7}|[0-9a-f]{2}(:[0-9a-f]{2}){19}"
      "|[0-9a-f]{2}(-[0-9a-f]{2}){5}|[0-9a-f]{2}(-[0-9a-f]{2}){7}|[0-9a-f]{2}(-[0-9a-f]{2}){19}"
      R"(|[0-9a-f]{4}(\.[0-9a-f]{4}){2}|[0-9a-f]{4}(\.[0-9a-f]{4}){3}|[0-9a-f]{4}(\.[0-9a-f]{4}){9})");
  return unless(fits(text, kPattern), "must be a MAC address such as 02:00:5e:10:00:01");
}

std::string check_key_values(std::string_view text) {
  static const re2::RE2 kPattern(R"(\s*|( ?\w+=[^,]*|)(,( ?\w+=[^,]*|))*)");
  return unless(fits(text, kPattern), "must be key=value pairs with commas between them");
}

std::string check_prometheus_host(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-zA-Z0-9:._+-]{1,64})");
  return unless(fits(text, kPattern), "must be a host name or address, at most 64 characters");
}

std::string check_regexp(std::string_view text) {
  const re2::RE2 compiled(piece(text), re2::RE2::Quiet);
  return compiled.ok() ? std::string() : fmt::format("not a regular expression: {}", compiled.error());
}

std::string check_wireguard_key(std::string_view text) {
  static const re2::RE2 kPattern("[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=");
  return unless(fits(text, kPattern), "must be 32 bytes in base64");
}

std::string check_selector(std::string_view text) {
  const auto checked = Selector::check(text);
  return checked ? std::string() : fmt::format("not a selector: {}", checked.error().message);
}

std::string check_ip_type(std::string_view text) {
  return unless(text == "CalicoNodeIP" || text == "InternalIP" || text == "ExternalIP",
                "must be one of CalicoNodeIP, InternalIP, ExternalIP");
}

std::string check_enabled(std::string_view text) {
  return unless(text == "Enabled" || text == "Disabled", "must be one of Enabled, Disabled");
}

std::string check_duration(std::string_view text) {
  static const re2::RE2 kPattern(R"([-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+))");
  return unless(fits(text, kPattern), "must be a duration such as 90s or 1m30s");
}

std::string check_date_time(std::string_view text) {
  static const re2::RE2 kPattern(
      R"(\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d))");
  return unless(fits(text, kPattern), "must be a time such as 2026-01-31T12:00:00Z");
}

}  // namespace

std::string check_dns_label(std::string_view text) {
  static const re2::RE2 kPattern("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?");
  return unless(fits(text, kPattern),
                "must be at most 63 of a-z 0-9 -, beginning and ending with a letter or digit");
}

std::string check_dns_subdomain(std::string_view text) {
  if (text.size() > 253) return "must be at most 253 characters";
  return check_name(text);
}

std::string check_label_key(std::string_view key) {
  static const re2::RE2 kName("([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]");
  const auto slash = key.find('/');
  const auto name = slash == std::string_view::npos ? key : key.substr(slash + 1);
  const bool prefix_is_fine =
      slash == std::string_view::npos || check_dns_subdomain(key.substr(0, slash)).empty();
  return unless(
      prefix_is_fine && fits(name, kName),
      "must be a name of at most 63 of a-z A-Z 0-9 - _ ., beginning and ending with a letter or digit, "
      "optionally after a DNS name and a slash");
}

std::string check_label_value(std::string_view value) {
  static const re2::RE2 kPattern("(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?");
  return unless(
      fits(value, kPattern),
      "must be empty or at most 63 of a-z A-Z 0-9 - _ ., beginning and ending with a letter or digit");
}

TextCheck find_text_check(std::string_view name) {
  static const std::map<std::string_view, TextCheck> kChecks{
      {"ip", check_ip},
      {"reachableBy", check_ip},
      {"ipv4", check_ipv4},
      {"ipv6", check_ipv6},
      {"net", [](std::string_view text) { return check_net(text, {}); }},
      {"netv4", [](std::string_view text) { return check_net(text, Family::kIpv4); }},
      {"netv6", [](std::string_view text) { return check_net(text, Family::kIpv6); }},
      {"cidr", [](std::string_view text) { return check_prefix(text, {}); }},
      {"cidrs", [](std::string_view text) { return check_prefix(text, {}); }},
      {"cidrv4", [](std::string_view text) { return check_prefix(text, Family::kIpv4); }},
      {"cidrv6", [](std::string_view text) { return check_prefix(text, Family::kIpv6); }},
      {"format:cidr", check_cidr_format},
      {"format:date-time", check_date_time},
      {"IP:port", check_ip_port},
      {"interface", check_interface},
      {"interfaceSlice", check_interface_name},
      {"ifaceFilter", check_interface_filter},
      {"ifaceFilterSlice", check_interface_filter},
      {"bgpFilterInterface", check_filter_interface},
      {"ignoredInterface", check_ignored_interface},
      {"name", check_name},
      {"dns1123", check_dns_label},
      {"containerID", check_container_id},
      {"selector", check_selector},
      {"labelKey", check_label_key},
      {"labelValue", check_label_value},
      {"portName", check_port_name},
      {"mac", check_mac},
      {"keyValueList", check_key_values},
      {"prometheusHost", check_prometheus_host},
      {"regexp", check_regexp},
      {"wireguardPublicKey", check_wireguard_key},
      {"ipType", check_ip_type},
      {"createDefaultHostEndpoint", check_enabled},
      {"Duration", check_duration},
  };
  const auto found = kChecks.find(name);
  return found == kChecks.end() ? nullptr : found->second;
}

}  // namespace ocicat::schema
