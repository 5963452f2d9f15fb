// Models of the ECP5's cells that a board's top instantiates. The outputs of the clock generator are
// driven by the simulator's main, as its parameters say.
module EHXPLLL #(
    parameter CLKI_DIV = 1, parameter CLKFB_DIV = 1, parameter CLKOP_DIV = 8,
    parameter CLKOP_CPHASE = 0, parameter CLKOP_FPHASE = 0, parameter CLKOP_ENABLE = "",
    parameter CLKOS_DIV = 8, parameter CLKOS_CPHASE = 0, parameter CLKOS_FPHASE = 0,
    parameter CLKOS_ENABLE = "", parameter CLKOS2_DIV = 8, parameter CLKOS2_CPHASE = 0,
    parameter CLKOS2_FPHASE = 0, parameter CLKOS2_ENABLE = "",
    parameter PLLRST_ENA = "", parameter INTFB_WAKE = "", parameter STDBY_ENABLE = "",
    parameter DPHASE_SOURCE = "", parameter FEEDBK_PATH = "", parameter OUTDIVIDER_MUXA = "",
    parameter OUTDIVIDER_MUXB = "", parameter OUTDIVIDER_MUXC = "", parameter OUTDIVIDER_MUXD = ""
) (
    input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG,
    input PLLWAKESYNC, ENCLKOP,
    output CLKOP, CLKOS, CLKOS2, LOCK
);
    reg made /* verilator public_flat_rw */ = 0;
    reg made_memory /* verilator public_flat_rw */ = 0;
    reg made_later /* verilator public_flat_rw */ = 0;
    wire [31:0] reference /* verilator public_flat_rd */ = CLKI_DIV;
    wire [31:0] feedback /* verilator public_flat_rd */ = CLKFB_DIV;
    wire [31:0] divider /* verilator public_flat_rd */ = CLKOP_DIV;
    wire [31:0] memory_divider /* verilator public_flat_rd */ = CLKOS_DIV;
    // Eighths of a cycle of its own oscillator.
    wire [31:0] lag /* verilator public_flat_rd */ =
        8 * (CLKOS2_CPHASE - CLKOS_CPHASE) + CLKOS2_FPHASE - CLKOS_FPHASE;
    reg [9:0] count = 0;
    always @(posedge CLKI) if (!LOCK) count <= count + 1;
    assign CLKOP = made;
    assign CLKOS = made_memory;
    assign CLKOS2 = made_later;
    assign LOCK = count[9];
endmodule

module DCCA (input CLKI, CE, output CLKO);
    reg open = 0;
    always @(negedge CLKI) open <= CE;
    assign CLKO = CLKI & open;
endmodule

module ODDRX1F (input D0, D1, SCLK, RST, output Q);
    assign Q = SCLK ? D0 : D1;
endmodule

module OFS1P3BX (input D, PD, SCLK, SP, output reg Q);
    initial Q = 1;
    always @(posedge SCLK) if (SP) Q <= D;
endmodule

module IFS1P3BX (input D, PD, SCLK, SP, output reg Q);
    initial Q = 1;
    always @(posedge SCLK) if (SP) Q <= D;
endmodule

module FD1S3BX (input D, PD, CK, output reg Q);
    initial Q = 1;
    always @(posedge CK or posedge PD) if (PD) Q <= 1; else Q <= D;
endmodule

module TRELLIS_IO #(parameter DIR = "") (inout B, input I, T, output O);
    assign B = T ? 1'bz : I;
    assign O = B;
endmodule
