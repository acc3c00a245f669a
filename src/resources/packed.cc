#include "resources/packed.h"

#include <cstring>
#include <type_traits>

#include "base/result.h"

namespace ocicat {

namespace {

class Writer {
 public:
  static constexpr bool kReads = false;

  void number(std::uint64_t value) {  // seven bits a byte, lowest first
    for (; value >= 0x80; value >>= 7) text_ += static_cast<char>(value | 0x80);
    text_ += static_cast<char>(value);
  }
  void bytes(std::string_view bytes) { text_ += bytes; }
  std::string copy() const { return {text_.data(), text_.size()}; }  // without spare room

 private:
  std::string text_;
};

class Reader {
 public:
  static constexpr bool kReads = true;

  explicit Reader(std::string_view text) : text_(text) {}

  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes(1).front());
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if ((byte & 0x80) == 0) return value;
    }
  }
  std::string_view bytes(std::size_t length) {
    CHECK(length <= text_.size());
    const auto taken = text_.substr(0, length);
    text_.remove_prefix(length);
    return taken;
  }

 private:
  std::string_view text_;
};

template <class T>
constexpr bool kIsOptional = false;
template <class T>
constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
constexpr bool kIsList = false;
template <class T>
constexpr bool kIsList<std::vector<T>> = true;

template <class Archive, class... Values>
void each(Archive& archive, Values&... values) {
  (field(archive, values), ...);
}

// What each type consists of, for both ways.
template <class Archive, class T>
void parts(Archive& archive, T& value) {
  using Plain = std::remove_const_t<T>;
  if constexpr (std::is_same_v<Plain, ProtocolMatch>) {
    each(archive, value.number, value.implies_family);
  } else if constexpr (std::is_same_v<Plain, PortRange>) {
    each(archive, value.first, value.last);
  } else if constexpr (std::is_same_v<Plain, IcmpMatch>) {
    each(archive, value.type, value.code);
  } else if constexpr (std::is_same_v<Plain, ServiceAccountMatch>) {
    each(archive, value.names, value.selector);
  } else if constexpr (std::is_same_v<Plain, ServiceMatch>) {
    each(archive, value.name, value.ns);
  } else if constexpr (std::is_same_v<Plain, HttpPath>) {
    each(archive, value.prefix, value.value);
  } else if constexpr (std::is_same_v<Plain, HttpMatch>) {
    each(archive, value.methods, value.paths);
  } else if constexpr (std::is_same_v<Plain, Prefix>) {
    each(archive, value.address, value.length);
  } else if constexpr (std::is_same_v<Plain, EntityRule>) {
    each(archive, value.selector, value.not_selector, value.namespace_selector, value.service_accounts,
         value.services, value.nets, value.not_nets, value.ports, value.not_ports);
  } else if constexpr (std::is_same_v<Plain, Rule>) {
    each(archive, value.action, value.ip_version, value.protocol, value.not_protocol, value.icmp,
         value.not_icmp, value.http, value.source, value.destination, value.written_at);
  } else if constexpr (std::is_same_v<Plain, NetworkPolicy>) {
    each(archive, value.kind, value.metadata.name, value.metadata.ns, value.tier, value.order, value.selector,
         value.namespace_selector, value.service_account_selector, value.applies_to_ingress,
         value.applies_to_egress, value.ingress, value.egress, value.do_not_track, value.pre_dnat,
         value.apply_on_forward, value.staged_delete, value.needed_everywhere, value.broken,
         value.unconverted);
  } else {
    static_assert(std::is_same_v<Plain, Profile>);
    each(archive, value.metadata.name, value.labels_to_apply, value.ingress, value.egress, value.broken);
  }
}

template <class Archive, class T>
void field(Archive& archive, T& value) {
  using Plain = std::remove_const_t<T>;
  if constexpr (std::is_integral_v<Plain> || std::is_enum_v<Plain>) {
    if constexpr (Archive::kReads) {
      value = static_cast<Plain>(archive.number());
    } else {
      archive.number(static_cast<std::uint64_t>(value));
    }
  } else if constexpr (std::is_same_v<Plain, double> || std::is_same_v<Plain, IpAddress>) {
    constexpr auto kSize = sizeof(Plain);
    if constexpr (Archive::kReads) {
      std::memcpy(&value, archive.bytes(kSize).data(), kSize);
    } else {
      archive.bytes({reinterpret_cast<const char*>(&value), kSize});
    }
  } else if constexpr (std::is_same_v<Plain, std::string>) {
    if constexpr (Archive::kReads) {
      value = archive.bytes(archive.number());
    } else {
      archive.number(value.size());
      archive.bytes(value);
    }
  } else if constexpr (kIsOptional<Plain>) {
    if constexpr (Archive::kReads) {
      if (archive.number() != 0) field(archive, value.emplace());
    } else {
      archive.number(value ? 1 : 0);
      if (value) field(archive, *value);
    }
  } else if constexpr (kIsList<Plain>) {
    if constexpr (Archive::kReads) {
      value.resize(archive.number());
    } else {
      archive.number(value.size());
    }
    for (auto& item : value) field(archive, item);
  } else if constexpr (std::is_same_v<Plain, Labels>) {
    if constexpr (Archive::kReads) {
      Labels::sequence_type entries(archive.number());
      for (auto& [name, text] : entries) each(archive, name, text);
      value.adopt_sequence(boost::container::ordered_unique_range, std::move(entries));
    } else {
      archive.number(value.size());
      for (const auto& [name, text] : value) each(archive, name, text);
    }
  } else if constexpr (std::is_same_v<Plain, Port>) {
    if constexpr (Archive::kReads) {
      if (archive.number() == 0) {
        field(archive, value.template emplace<PortRange>());
      } else {
        field(archive, value.template emplace<std::string>());
      }
    } else {
      archive.number(value.index());
      std::visit([&](const auto& port) { field(archive, port); }, value);
    }
  } else {
    parts(archive, value);
  }
}

template <class T>
std::string packed(const T& value) {
  Writer writer;
  field(writer, value);
  return writer.copy();
}

template <class T>
T unpacked(std::string_view text) {
  Reader reader(text);
  T value;
  field(reader, value);
  return value;
}

}  // namespace

std::string pack(const NetworkPolicy& policy) {
  return packed(policy);
}

std::string pack(const Profile& profile) {
  return packed(profile);
}

NetworkPolicy unpack_policy(std::string_view text) {
  return unpacked<NetworkPolicy>(text);
}

Profile unpack_profile(std::string_view text) {
  return unpacked<Profile>(text);
}

}  // namespace ocicat
