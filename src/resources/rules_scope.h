// How rules read a document: an object together with where it stands and where complaints go.
#pragma once

#include <boost/json/object.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "resources/schema.h"

namespace ocicat::rules {

class Scope {
 public:
  Scope(const boost::json::object& object, const Place& place, schema::Findings& findings)
      : object_(object), place_(place), findings_(findings) {}

  // Each is empty where the field is missing or of another type.
  const boost::json::value* find(std::string_view key) const;
  std::string_view text(std::string_view key) const;
  std::optional<std::int64_t> number(std::string_view key) const;
  const boost::json::object* object(std::string_view key) const;
  const boost::json::array* list(std::string_view key) const;
  bool is_true(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  // Has a value other than "", 0, false, [] and {}: what Calico's own types can tell from a missing field.
  bool is_set(std::string_view key) const;

  // A complaint about one field, or about one item of a list.
  void complain(std::string_view key, std::string rule) const;
  void complain(std::string_view key, std::size_t index, std::string rule) const;
  void complain(std::string rule) const { findings_.add(place_, std::move(rule)); }

  // Calls f(Scope) for the object at `key`, or for every object in the list there.
  template <class F>
  void in(std::string_view key, F&& f) const {
    if (const auto* nested = object(key)) {
      const Place here(place_, key);
      f(Scope(*nested, here, findings_));
    }
  }
  template <class F>
  void each(std::string_view key, F&& f) const {
    const auto* items = list(key);
    if (items == nullptr) return;
    const Place here(place_, key);
    for (std::size_t i = 0; i < items->size(); ++i) {
      const auto* item = (*items)[i].if_object();
      if (item == nullptr) continue;
      const Place at(here, i);
      f(Scope(*item, at, findings_));
    }
  }
  // Calls f(index, text) for every text in the list at `key`.
  template <class F>
  void each_text(std::string_view key, F&& f) const {
    const auto* items = list(key);
    if (items == nullptr) return;
    for (std::size_t i = 0; i < items->size(); ++i) {
      if (const auto* item = (*items)[i].if_string()) f(i, std::string_view(*item));
    }
  }

  const boost::json::object& json() const { return object_; }
  const Place& place() const { return place_; }
  schema::Findings& findings() const { return findings_; }

 private:
  const boost::json::object& object_;
  const Place& place_;
  schema::Findings& findings_;
};

// The rules of the kinds, each given the whole document.
void check_policy(Kind kind, const Scope& document);  // Calico's policies, and Profile
void check_kubernetes_policy(const Scope& document);  // networking.k8s.io, and the staged kind
void check_cluster_policy(const Scope& document);
void check_pod(const Scope& document);
void check_service(const Scope& document);
void check_endpoint_slice(const Scope& document);
void check_tier(const Scope& document);
void check_network_set(const Scope& document);
void check_workload_endpoint(const Scope& document);
void check_host_endpoint(const Scope& document);
void check_node(const Scope& document);
void check_ip_pool(const Scope& document);
void check_bgp_configuration(const Scope& document);
void check_bgp_peer(const Scope& document);
void check_bgp_filter(const Scope& document);
void check_block_affinity(const Scope& document);
void check_felix_configuration(const Scope& document);

bool is_zero(const boost::json::value& value);

// Annotations anywhere: keys are qualified names in any case, all together at most 256 KiB.
void check_annotations(const Scope& metadata);
// A selector for objects that have no namespace, or are picked inside one, must not say `global()`.
void refuse_global(const Scope& scope, std::string_view key);

}  // namespace ocicat::rules
