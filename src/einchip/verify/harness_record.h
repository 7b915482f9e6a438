// What is recorded of a run, cycle by cycle: waves in the format of the build, and samples of signals.

#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "Vtop.h"
#include "harness_jobs.h"
#include "verilated.h"
#include "verilated_sym_props.h"
#include "verilated_syms.h"
#if VM_TRACE_SAIF
#include "verilated_saif_c.h"
using WaveFile = VerilatedSaifC;
#elif VM_TRACE_FST
#include "verilated_fst_c.h"
using WaveFile = VerilatedFstC;
#elif VM_TRACE
#include "verilated_vcd_c.h"
using WaveFile = VerilatedVcdC;
#endif

// Files, or null.
struct Recorded {
    const char* signals = nullptr;
    const char* samples = nullptr;
    const char* waves = nullptr;
};

inline const char* named(const char* argument) {
    return std::strcmp(argument, "-") ? argument : nullptr;
}

// Waves from the first half cycle that is dumped on, which is time 0.
class Waves {
#if VM_TRACE
public:
    Waves(Vtop& top, const char* path) : path_(path) { top.trace(&file_, 99); }
    void dump() {
        if (!file_.isOpen()) file_.open(path_.c_str());
        if (!file_.isOpen()) throw std::runtime_error("cannot write " + path_);
        file_.dump(time_);
        time_ += 5;
    }
    void close() { file_.close(); }

private:
    std::string path_;
    WaveFile file_;
    uint64_t time_ = 0;
#else
public:
    Waves(Vtop&, const char*) { throw std::runtime_error("built without waves"); }
    void dump() {}
    void close() {}
#endif
};

// The values of signals, one record for each cycle. The file begins with the number of signals and
// the bytes of each one, 32 bits each; a record has their bytes, in the order of their names.
class Samples {
public:
    Samples(const VerilatedContext& context, const Recorded& recorded) : out_(recorded.samples) {
        std::ifstream names(recorded.signals);
        for (std::string line; std::getline(names, line);) signals_.push_back(find(context, line));
        out_.put<uint32_t>(signals_.size());
        for (const auto& signal : signals_) out_.put<uint32_t>(signal.second);
    }
    void take() {
        for (const auto& signal : signals_) out_.put(signal.first, signal.second);
    }

private:
    // A line is the scope, a tab, and the name in it.
    static std::pair<const void*, uint32_t> find(const VerilatedContext& context,
                                                 const std::string& line) {
        const auto tab = line.find('\t');
        const VerilatedScope* scope = context.scopeFind(line.substr(0, tab).c_str());
        const VerilatedVar* var = scope ? scope->varFind(line.substr(tab + 1).c_str()) : nullptr;
        if (!var) throw std::runtime_error("no signal " + line);
        return {var->datap(), static_cast<uint32_t>(var->totalSize())};
    }

    Writer out_;
    std::vector<std::pair<const void*, uint32_t>> signals_;
};
